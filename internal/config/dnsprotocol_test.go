package config

import (
	"net/netip"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/dnsserver"
)

func TestProtocolBad(t *testing.T) {
	t.Parallel()
	testBad(t, ParseDNS, dnsFile, []badCase{
		{"unknown key of cookies", "site: mec-1", "site: mec-1\ncookies: {secret: x}",
			"2:11: cookies.secret: unknown key: here may stand off, secret_file, next_secret_file, previous_secret_file"},
		{"no secret there", "site: mec-1", "site: mec-1\ncookies: {secret_file: none.key}",
			"2:24: cookies.secret_file: cannot be read: stat testdata/none.key: no such file or directory"},
		{"no secret in it", "site: mec-1", "site: mec-1\ncookies: {secret_file: empty.key}",
			"2:24: cookies.secret_file: testdata/empty.key must hold 32 hexadecimal digits on one line, such as openssl rand -hex 16 writes"},
		{"another kind of secret", "site: mec-1", "site: mec-1\ncookies: {secret_file: lines.key}",
			"2:24: cookies.secret_file: testdata/lines.key must hold 32 hexadecimal digits on one line, such as openssl rand -hex 16 writes"},
		{"zeros", "site: mec-1", "site: mec-1\ncookies: {secret_file: zero.key}",
			"2:24: cookies.secret_file: testdata/zero.key holds zeros alone, which is no secret"},
		{"a directory", "site: mec-1", "site: mec-1\ncookies: {secret_file: .}",
			"2:24: cookies.secret_file: testdata is not a regular file"},
		{"next without current", "site: mec-1", "site: mec-1\ncookies: {next_secret_file: cookie.key}",
			"2:29: cookies.next_secret_file: is beside the secret in use: add secret_file"},
		{"previous without current", "site: mec-1", "site: mec-1\ncookies: {previous_secret_file: cookie.key}",
			"2:33: cookies.previous_secret_file: is beside the secret in use: add secret_file"},
		{"off and more", "site: mec-1", "site: mec-1\ncookies: {off: true, secret_file: cookie.key}",
			"2:10: cookies: are off: remove the rest, or off"},
		{"whitelist", "site: mec-1", "site: mec-1\nrate_limit: {whitelist: [10.0.0.0/8]}",
			"2:14: rate_limit.whitelist: unknown key: here may stand off, rate, burst, slip, max_size, dry_run, exempt"},
		{"no rate", "site: mec-1", "site: mec-1\nrate_limit: {rate: 0}",
			`2:20: rate_limit.rate: must be a whole number from 1 to 1000000, not "0"`},
		{"burst of more than an hour", "site: mec-1", "site: mec-1\nrate_limit: {rate: 2, burst: 7201}",
			`2:30: rate_limit.burst: must be a whole number from 1 to 7200, not "7201"`},
		{"slip", "site: mec-1", "site: mec-1\nrate_limit: {slip: 11}",
			`2:20: rate_limit.slip: must be a whole number from 0 to 10, not "11"`},
		{"size of a bare answer", "site: mec-1", "site: mec-1\nrate_limit: {max_size: 100}",
			`2:24: rate_limit.max_size: must be a whole number from 128 to 1232, not "100"`},
		{"exempt with host bits", "site: mec-1", "site: mec-1\nrate_limit: {exempt: [\"2001:db8::1/64\"]}",
			"2:23: rate_limit.exempt[0]: 2001:db8::1/64 has bits set beyond its length: write 2001:db8::/64"},
		{"exempt twice", "site: mec-1", "site: mec-1\nrate_limit: {exempt: [10.0.0.0/8, 10.0.0.0/8]}",
			"2:35: rate_limit.exempt[1]: duplicate 10.0.0.0/8: already in rate_limit.exempt[0] on line 2"},
		{"limit off and more", "site: mec-1", "site: mec-1\nrate_limit: {off: true, rate: 5}",
			"2:13: rate_limit: is off: remove the rest, or off"},
		{"no protocol", "answers: 2", "answers: 2\n    alpn: []",
			"10:11: services[0].alpn: needs at least one protocol"},
		{"not a protocol", "answers: 2", "answers: 2\n    alpn: [\"h2,h3\"]",
			`10:12: services[0].alpn[0]: must be a protocol of TLS of at most 32 letters, digits, dots, slashes, hyphens and underscores, such as h2, not "h2,h3"`},
		{"protocol twice", "answers: 2", "answers: 2\n    alpn: [h2, h2]",
			"10:16: services[0].alpn[1]: duplicate h2: already in services[0].alpn[0] on line 10"},
		{"alpn without port", "answers: 2\n    endpoints:\n", "answers: 2\n    alpn: [h2]\n    endpoints:\n      - {address: 10.0.0.1}\n",
			"12:9: services[0].endpoints[0].port: missing: write the port that clients are told, since the service has alpn"},
		{"no connection", "site: mec-1", "site: mec-1\ntcp: {connections: 0}",
			`2:20: tcp.connections: must be a whole number from 1 to 65536, not "0"`},
		{"more than all for one", "site: mec-1", "site: mec-1\ntcp: {connections: 10, per_client: 11}",
			`2:36: tcp.per_client: must be a whole number from 1 to 10, not "11"`},
		{"idle", "site: mec-1", "site: mec-1\ntcp: {idle_timeout: 10}",
			"2:21: tcp.idle_timeout: must be a duration from 100ms to 1h: 10 has no unit, write 10s for seconds"},
	})
}

func TestProtocolGood(t *testing.T) {
	t.Parallel()
	key := [16]byte{0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf}
	for text, want := range map[string]DNS{
		"": {},
		"cookies: {secret_file: cookie.key, previous_secret_file: cookie.key}": {
			Protection: dnsserver.Protection{Cookies: dnsserver.Cookies{Secret: key, Accepted: [][16]byte{key}}},
		},
		"cookies: {off: true}": {Protection: dnsserver.Protection{Cookies: dnsserver.Cookies{Off: true}}},
		"rate_limit: {rate: 50, slip: 0, max_size: 512, dry_run: true, exempt: [192.0.2.0/24]}": {
			Protection: dnsserver.Protection{RateLimit: dnsserver.RateLimit{
				Rate: 50, Burst: 125, MaxSize: 512, DryRun: true, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			}},
		},
		"rate_limit: {rate: 1}": {Protection: dnsserver.Protection{RateLimit: dnsserver.RateLimit{Rate: 1, Burst: 2, Slip: 2}}},
		"tcp: {connections: 20, idle_timeout: 30s}": {
			TCP: dnsserver.TCP{Connections: 20, PerClient: 20, Idle: 30 * time.Second},
		},
	} {
		got := mustParse(t, ParseDNS, dnsFile, "site: mec-1", "site: mec-1\n"+text)
		if want.RateLimit.Rate == 0 {
			want.RateLimit = dnsserver.DefaultRateLimit
		}
		if want.TCP.Connections == 0 {
			want.TCP = dnsserver.DefaultTCP
		}
		if d := diff(DNS{Protection: want.Protection, TCP: want.TCP}, DNS{Protection: got.Protection, TCP: got.TCP}); d != "" {
			t.Errorf("%s (-want +got)\n%s", text, d)
		}
	}
	if d := mustParse(t, ParseDNS, dnsFile, "site: mec-1", "site: mec-1\nrate_limit: {off: true}"); d.RateLimit.Rate != 0 {
		t.Errorf("off, and limited to %d", d.RateLimit.Rate)
	}
}
