package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// cookieBack sends a cookie alone, and returns what comes back.
func cookieBack(t *testing.T, cookie string) (back string, rcode int) {
	t.Helper()
	q := new(dns.Msg)
	q.Id = dns.Id()
	q.SetEdns0(1232, false)
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
	c := dns.Client{Timeout: 20 * time.Second}
	m, _, err := c.ExchangeContext(t.Context(), q, "[::1]:53")
	if err != nil || m.IsEdns0() == nil || len(m.IsEdns0().Option) != 1 {
		t.Fatalf("answer %v, %v", m, err)
	}
	return m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie, m.Rcode
}

// judged tells what becomes of a server cookie: who makes cookies with its secret keeps it, who accepts that renews it.
func judged(t *testing.T, cookie string) string {
	t.Helper()
	switch back, rcode := cookieBack(t, cookie); {
	case rcode == dns.RcodeBadCookie:
		return "refused"
	case back == cookie:
		return "kept"
	default:
		return "renewed"
	}
}

// The secret is rolled in the three steps of docs/dns.md by SIGHUP: no cookie of a site that is a step ahead or behind is refused.
func TestCookieRoll(t *testing.T) {
	path := configFile(t, testConfig)
	for name, secret := range map[string]string{"old.key": "e5e973e5a6b2a43f48e7dc849e37bfcf", "new.key": "445536bcd2513298075a5d379663c962"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := startFile(t, path)
	with := func(cookies string) { reload(t, path, testConfig+"cookies: {"+cookies+"}\n", lines, taken) }
	const client = "2464c4abcf10c957"
	with("secret_file: new.key")
	ahead, _ := cookieBack(t, client)
	with("secret_file: old.key")
	mine, _ := cookieBack(t, client)

	type verdicts struct{ Step, Old, New string }
	var got []verdicts
	want := []verdicts{
		{"secret_file: old.key", "kept", "refused"},
		{"secret_file: old.key, next_secret_file: new.key", "kept", "renewed"},
		{"secret_file: new.key, previous_secret_file: old.key", "renewed", "kept"},
		{"secret_file: new.key", "refused", "kept"},
	}
	for _, step := range want {
		with(step.Step)
		got = append(got, verdicts{step.Step, judged(t, mine), judged(t, ahead)})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
