#!/bin/sh
# Makes the test certificates anew, valid for 50 years: a CA; a server (localhost, 127.0.0.1); a client; another CA nobody trusts; an
# expired server certificate. Keys are for these tests only. Each as PEM and as DER: this MicroPython's mbedtls reads only DER.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
ca() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -sha256 -days 18250 -subj "/CN=$2" -out "$1.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
leaf() { # name, subject, CA, days, extensions
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\n%b' "$5" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -sha256 -days "$4" -extfile "$1.ext" -out "$1.pem"
    rm -f "$1.csr" "$1.ext"
}
ca ca "umqtt5 test CA"
ca other "another CA"
leaf server localhost ca 18250 'subjectAltName=DNS:localhost,IP:127.0.0.1\n'
leaf client node-1 ca 18250 'extendedKeyUsage=clientAuth\n'
leaf expired localhost ca -1 'subjectAltName=DNS:localhost,IP:127.0.0.1\n'
rm -f ./*.srl ca.key other.key
for f in *.pem; do openssl x509 -in "$f" -outform DER -out "${f%.pem}.der"; done
for f in *.key; do openssl ec -in "$f" -outform DER -out "$f.der"; done
