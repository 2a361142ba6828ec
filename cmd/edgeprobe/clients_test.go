package main

import (
	"strings"
	"testing"

	"github.com/anyedge/anyedge/pkg/client"
)

func TestBadClientCommandLines(t *testing.T) {
	t.Parallel()
	const server = " --server ::1 --name a.example"
	for _, tt := range []struct{ args, want string }{
		{"dns", "--server is missing: ADDR[:PORT] of the DNS server"},
		{"dns --server ::1", "--name is missing: the name of the service"},
		{"dns --server ns --name a", `--server "ns": want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name`},
		{"dns --spacing even" + server, `--spacing "even": want poisson or fixed`},
		{"dns --rate 0" + server, "rate 0: want 0.001 to 1000000 requests per second"},
		{"dns --type NOPE" + server, `DNS type "NOPE": unknown: want one as AAAA, A, SOA, TXT`},
		{"http", "--server is missing: ADDR[:PORT] of the DNS server"},
		{"http --ttl maybe" + server, `--ttl "maybe": want honour or ignore`},
		{"http --order best" + server, `--order "best": want answer or random`},
		{"http --port 0" + server, "port 0: want that of the pods, 1 to 65535"},
		{"http --clients 0" + server, "clients 0: want 1 to 1000000"},
		{"app", "--name is missing: the name that answers shall carry"},
		{"app --name a --cpus -1", "CPUs -1: want 1 to 65536"},
		{"app --name a --listen localhost", `--listen "localhost": want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name`},
	} {
		got := execute(t.Context(), strings.Fields(tt.args)...)
		if want := (result{1, "", "edgeprobe: " + tt.want + "\n"}); got != want {
			t.Errorf("%s\ngot  %+v\nwant %+v", tt.args, got, want)
		}
	}
}

func TestClientHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"app", "dns", "http"} {
		got := execute(t.Context(), name, "--help")
		if got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, "Examples:") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Nobody answers: that is a result, not a failure of the program.
func TestClientsOfNobody(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"dns", "http --retries 0"} {
		got := execute(t.Context(), strings.Fields(args+" --server [::1]:9 --name a.example --rate 20 --duration 200ms --timeout 500ms --json -")...)
		if got.status != 0 || !strings.HasPrefix(got.stdout, "{") || !strings.Contains(got.stderr, "a.example") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestStatusLine(t *testing.T) {
	t.Parallel()
	if got, want := statusLine(client.Status{Due: 9, OK: 5, Failed: 1, InFlight: 3, LatencyMs: 1.234}), "OK 5  failed 1  under way 3  latency 1.23 ms  due 9"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
