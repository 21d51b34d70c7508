/* Extended authentication for mosquitto 2.0 (MQTT 5.0 section 4.12), for the tests of this client.
 *
 * Mechanisms:
 *   SCRAM-SHA-256  RFC 5802, RFC 7677, for the one user of the options; written from the RFCs, with its own SHA-256.
 *   echo           sends back what it gets in the next AUTH, as often as the client likes; "ok" ends in success with
 *                  "ok" as data, "no" in failure, "none" in success without data.
 * Both serve the first authentication and re-authentication.
 *
 * Options (plugin_opt_NAME VALUE):
 *   user, password   of SCRAM                       iterations   4096
 *   lie true         SCRAM's signature is wrong     in_auth true SCRAM's signature comes in an AUTH of its own, not with the end
 *
 * cc -shared -fPIC -O2 -o auth_plugin.so auth_plugin.c         needs only the headers of Debian's mosquitto-dev
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

/* from mosquitto.h, which is in another package */
enum { OK = 0, CONTINUE = -4, NOMEM = 1, NOT_SUPPORTED = 10, REFUSED = 11 };

/* ---------------------------------------------------------------- SHA-256, HMAC, PBKDF2, base64 */

typedef struct {
	uint32_t h[8];
	uint8_t block[64];
	uint64_t size;
} sha;

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
	0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
	0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
	0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compress(sha *s)
{
	uint32_t w[64], v[8];
	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)s->block[4 * i] << 24 | s->block[4 * i + 1] << 16 | s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7]
			+ (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, s->h, 32);
	for (int i = 0; i < 64; i++) {
		uint32_t a = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
		uint32_t b = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 28);
		v[4] += a;
		v[0] = a + b;
	}
	for (int i = 0; i < 8; i++)
		s->h[i] += v[i];
}

static void sha_init(sha *s)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	memcpy(s->h, start, 32);
	s->size = 0;
}

static void sha_add(sha *s, const void *data, size_t n)
{
	for (const uint8_t *p = data; n; n--) {
		s->block[s->size++ & 63] = *p++;
		if (!(s->size & 63))
			compress(s);
	}
}

static void sha_end(sha *s, uint8_t out[32])
{
	uint64_t bits = s->size * 8;
	sha_add(s, "\x80", 1);
	while ((s->size & 63) != 56)
		sha_add(s, "", 1);
	for (int i = 56; i >= 0; i -= 8) {
		uint8_t b = bits >> i;
		sha_add(s, &b, 1);
	}
	for (int i = 0; i < 32; i++)
		out[i] = s->h[i / 4] >> (24 - 8 * (i % 4));
}

static void hmac(const void *key, size_t key_n, const void *msg, size_t n, uint8_t out[32])
{
	uint8_t k[64] = {0}, inner[32];
	sha s;
	if (key_n > 64) {
		sha_init(&s);
		sha_add(&s, key, key_n);
		sha_end(&s, k);
	} else {
		memcpy(k, key, key_n);
	}
	for (int i = 0; i < 64; i++)
		k[i] ^= 0x36;
	sha_init(&s);
	sha_add(&s, k, 64);
	sha_add(&s, msg, n);
	sha_end(&s, inner);
	for (int i = 0; i < 64; i++)
		k[i] ^= 0x36 ^ 0x5c;
	sha_init(&s);
	sha_add(&s, k, 64);
	sha_add(&s, inner, 32);
	sha_end(&s, out);
}

static void salted(const char *word, const uint8_t *s, size_t n, int rounds, uint8_t out[32])
{
	uint8_t u[68];
	memcpy(u, s, n);
	memcpy(u + n, "\0\0\0\1", 4);
	hmac(word, strlen(word), u, n + 4, u);
	memcpy(out, u, 32);
	while (--rounds) {
		hmac(word, strlen(word), u, 32, u);
		for (int i = 0; i < 32; i++)
			out[i] ^= u[i];
	}
}

static const char B64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64(const uint8_t *in, size_t n, char *out)
{
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = in[i] << 16 | (i + 1 < n ? in[i + 1] : 0) << 8 | (i + 2 < n ? in[i + 2] : 0);
		*out++ = B64[v >> 18];
		*out++ = B64[v >> 12 & 63];
		*out++ = i + 1 < n ? B64[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? B64[v & 63] : '=';
	}
	*out = 0;
}

/* ---------------------------------------------------------------- state of the clients that are half way */

typedef struct state {
	struct state *next;
	const struct mosquitto *client;
	int verified;      /* SCRAM with in_auth: only the client's empty answer is missing */
	char bare[256];    /* client-first-message-bare */
	char first[256];   /* server-first-message */
	char nonce[160];   /* both nonces */
} state;

static state *states;
static const char *user = "user", *password = "pencil";
static int iterations = 4096, lie, in_auth;
static uint8_t salt[16]; /* one as long as the broker runs, as a server keeps it with the user */

static int randomly(uint8_t *out, size_t n)
{
	FILE *f = fopen("/dev/urandom", "rb");
	size_t got = f ? fread(out, 1, n, f) : 0;
	if (f)
		fclose(f);
	return got == n;
}

static void forget(const struct mosquitto *client)
{
	for (state **p = &states; *p; p = &(*p)->next)
		if ((*p)->client == client) {
			state *s = *p;
			*p = s->next;
			free(s);
			return;
		}
}

static state *find(const struct mosquitto *client)
{
	for (state *s = states; s; s = s->next)
		if (s->client == client)
			return s;
	return NULL;
}

static int answer(struct mosquitto_evt_extended_auth *ed, const void *data, size_t n, int rc)
{
	if (n) {
		ed->data_out = malloc(n); /* mosquitto frees it */
		if (!ed->data_out)
			return NOMEM;
		memcpy(ed->data_out, data, n);
	}
	ed->data_out_len = n;
	return rc;
}

/* ---------------------------------------------------------------- mechanisms */

static int echo(struct mosquitto_evt_extended_auth *ed)
{
	const char *d = ed->data_in;
	size_t n = ed->data_in_len;
	if (n == 2 && !memcmp(d, "no", 2))
		return REFUSED;
	if (n == 4 && !memcmp(d, "none", 4))
		return OK;
	return answer(ed, d, n, n == 2 && !memcmp(d, "ok", 2) ? OK : CONTINUE);
}

/* The user name as SCRAM writes it: '=' and ',' escaped. */
static void escaped(const char *name, char *out, size_t n)
{
	for (; *name && n > 4; name++) {
		int k = sprintf(out, *name == '=' ? "=3D" : *name == ',' ? "=2C" : "%c", *name);
		out += k;
		n -= k;
	}
	*out = 0;
}

static int scram_start(struct mosquitto_evt_extended_auth *ed)
{
	char text[256], name[128], want[140], raw[34];
	uint8_t random[18];
	if (ed->data_in_len >= sizeof text || !randomly(random, sizeof random))
		return REFUSED;
	memcpy(text, ed->data_in, ed->data_in_len);
	text[ed->data_in_len] = 0;
	escaped(user, name, sizeof name);
	snprintf(want, sizeof want, "n,,n=%s,r=", name);
	if (strlen(text) != ed->data_in_len || strncmp(text, want, strlen(want)) || strlen(text) < strlen(want) + 16
	    || strchr(text + strlen(want), ','))
		return REFUSED;
	state *s = calloc(1, sizeof *s);
	if (!s)
		return NOMEM;
	s->client = ed->client;
	s->next = states;
	states = s;
	strcpy(s->bare, text + 3);
	base64(random, 18, raw);
	snprintf(s->nonce, sizeof s->nonce, "%.100s%s", text + strlen(want), raw);
	base64(salt, 16, raw);
	snprintf(s->first, sizeof s->first, "r=%s,s=%s,i=%d", s->nonce, raw, iterations);
	return answer(ed, s->first, strlen(s->first), CONTINUE);
}

static int scram_continue(struct mosquitto_evt_extended_auth *ed)
{
	state *s = find(ed->client);
	char text[256], final[200], msg[800], line[64];
	uint8_t key[32], client_key[32], stored[32], signature[32];
	sha h;
	if (!s || s->verified) {
		int rc = s && s->verified && !ed->data_in_len ? OK : REFUSED;
		forget(ed->client);
		if (rc == OK)
			mosquitto_set_username(ed->client, user);
		return rc;
	}
	if (ed->data_in_len >= sizeof text)
		return REFUSED;
	memcpy(text, ed->data_in, ed->data_in_len);
	text[ed->data_in_len] = 0;
	snprintf(final, sizeof final, "c=biws,r=%s", s->nonce);
	snprintf(msg, sizeof msg, "%s,%s,%s", s->bare, s->first, final);
	salted(password, salt, 16, iterations, key);
	hmac(key, 32, "Client Key", 10, client_key);
	sha_init(&h);
	sha_add(&h, client_key, 32);
	sha_end(&h, stored);
	hmac(stored, 32, msg, strlen(msg), signature);
	for (int i = 0; i < 32; i++)
		client_key[i] ^= signature[i];
	base64(client_key, 32, line);
	strcat(final, ",p=");
	if (strncmp(text, final, strlen(final)) || strcmp(text + strlen(final), line)) {
		forget(ed->client);
		return REFUSED;
	}
	hmac(key, 32, "Server Key", 10, key);
	hmac(key, 32, msg, strlen(msg), signature);
	signature[0] ^= lie;
	strcpy(line, "v=");
	base64(signature, 32, line + 2);
	s->verified = in_auth;
	if (in_auth)
		return answer(ed, line, strlen(line), CONTINUE);
	forget(ed->client);
	mosquitto_set_username(ed->client, user);
	return answer(ed, line, strlen(line), OK);
}

static int start(int event, void *data, void *userdata)
{
	struct mosquitto_evt_extended_auth *ed = data;
	forget(ed->client);
	if (!strcmp(ed->auth_method, "echo"))
		return echo(ed);
	if (!strcmp(ed->auth_method, "SCRAM-SHA-256"))
		return scram_start(ed);
	return NOT_SUPPORTED;
}

static int go_on(int event, void *data, void *userdata)
{
	struct mosquitto_evt_extended_auth *ed = data;
	return find(ed->client) ? scram_continue(ed) : echo(ed); /* auth_method is NULL here in mosquitto 2.0.11 */
}

static int gone(int event, void *data, void *userdata)
{
	forget(((struct mosquitto_evt_disconnect *)data)->client);
	return OK;
}

int mosquitto_plugin_version(int n, const int *versions)
{
	for (int i = 0; i < n; i++)
		if (versions[i] == 5)
			return 5;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata, struct mosquitto_opt *options, int n)
{
	for (; n; n--, options++) {
		if (!strcmp(options->key, "user"))
			user = strdup(options->value);
		else if (!strcmp(options->key, "password"))
			password = strdup(options->value);
		else if (!strcmp(options->key, "iterations"))
			iterations = atoi(options->value);
		else if (!strcmp(options->key, "lie"))
			lie = !strcmp(options->value, "true");
		else if (!strcmp(options->key, "in_auth"))
			in_auth = !strcmp(options->value, "true");
	}
	if (!randomly(salt, sizeof salt))
		return REFUSED;
	mosquitto_callback_register(id, MOSQ_EVT_DISCONNECT, gone, NULL, NULL);
	mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_START, start, NULL, NULL);
	return mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_CONTINUE, go_on, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int n)
{
	while (states)
		forget(states->client);
	return OK;
}
