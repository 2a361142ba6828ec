package main

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/probe"
)

// TestBadPeer has ldns-testns answer what no server should: neither of our two DNS clients, the agent's check and the
// simulators', believes it, and both live on. Empty: it takes the answer; "waits": it waits for a better one.
func TestBadPeer(t *testing.T) {
	path := nettest.Program(t, "ldns-testns", "ldnsutils")
	d := nettest.StartDaemon(t, "Listening on port", path, "-r", "testdata/badpeer.testns")
	server := netip.MustParseAddrPort("127.0.0.1:" + regexp.MustCompile(`Listening on port (\d+)`).FindStringSubmatch(d.String())[1])
	resolver, err := probe.OpenResolver(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()
	for _, tt := range []struct{ name, check, resolver string }{
		{"good", "", "NOERROR 2001:db8::1 for 5s"},
		{"wrong-id", "waits", "waits"},
		{"no-response-bit", "waits", "waits"},
		{"other-question", "waits", "waits"},
		{"not-dns", "waits", "waits"},
		{"late", "waits", "waits"},
		{"other-owner", "answered NOERROR with records of something else", "NOERROR for 0s"},
		{"other-type", "answered NOERROR with records of something else", "NOERROR for 0s"},
		{"other-class", "answered NOERROR with records of something else", "NOERROR for 0s"},
		{"only-additional", "answered NOERROR without a record", "NOERROR for 0s"},
		{"empty", "answered NOERROR without a record", "NOERROR for 0s"},
		{"cname-loop", "", "NOERROR for 0s"}, // an alias is an answer; that it leads nowhere is not the server's fault
		{"nxdomain-with-answer", "answered NXDOMAIN", "NXDOMAIN 2001:db8::bad for 5s"},
		{"servfail", "answered SERVFAIL", "SERVFAIL for 0s"},
		{"notimp", "answered NOTIMP", "NOTIMP for 0s"},
		{"truncated", "over TCP: closed without an answer", "an answer over TCP to another question"},
		{"always-truncated", "answered truncated, without a record", "NOERROR for 0s"},
		{"long-ttl", "", "NOERROR 2001:db8::1 for 0s"}, // RFC 2181, section 8
		{"good", "", "NOERROR 2001:db8::1 for 5s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := tt.name + ".bad.example."
			if got := outcome(t, server, tt.check, func(ctx context.Context) (string, error) {
				return "", health.DNS{Target: server, Name: name, Type: dns.TypeAAAA}.Check(ctx)
			}); got != tt.check {
				t.Errorf("check: %q, want %q", got, tt.check)
			}
			if got := outcome(t, server, tt.resolver, func(ctx context.Context) (string, error) {
				r, err := resolver.Ask(ctx, probe.Question{Name: name, Type: "AAAA"})
				return strings.Join(append(append([]string{r.Rcode}, r.Values...), "for", r.TTL.String()), " "), err
			}); got != tt.resolver {
				t.Errorf("resolver: %q, want %q", got, tt.resolver)
			}
		})
	}
}

// outcome tells what became of a question: "waits" when it would wait for ever.
func outcome(t *testing.T, server netip.AddrPort, want string, ask func(context.Context) (string, error)) string {
	patience := 20 * time.Second
	if want == "waits" {
		patience = 50 * time.Millisecond // an answer that is wrong would have come by then
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := ask(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || err != nil && strings.Contains(err.Error(), "no answer within"):
		return "waits"
	case err != nil:
		return strings.TrimPrefix(err.Error(), "server "+server.String()+": ")
	default:
		return got
	}
}
