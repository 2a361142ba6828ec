package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/probe"
)

func TestMain(m *testing.M) { nettest.Main(func() { goleak.VerifyTestMain(m) }) }

// result is what a program left behind.
type result struct {
	status         int
	stdout, stderr string
}

func execute(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// responder answers as mec-1 until the test ends.
func responder(t *testing.T) string {
	t.Helper()
	r, err := probe.NewResponder(probe.ResponderConfig{Site: "mec-1", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r.Addrs()[0].String()
}

func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("x", 33)
	for _, tt := range []struct{ args, want string }{
		{"nope", `unknown command "nope" for "edgeprobe"`},
		{"run", "--target is missing: ADDR:PORT of the service"},
		{"run x", `unknown command "x" for "edgeprobe run"`},
		{"run --target edge.example:7000", `--target "edge.example:7000": want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name`},
		{"run --target ::1", `--target "::1": the port is missing: want [::1]:7000`},
		{"run --target [::1]:0", "target [::1]:0: want the ADDRESS:PORT of a service"},
		{"run --target [::1]:99999", `--target "[::1]:99999": want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name`},
		{"run --target [::1]:1 --source x", `--source "x": want an address`},
		{"run --target [::1]:1 --interval 0", "interval 0s: want 100µs to 1m0s"},
		{"run --target [::1]:1 --interval 1us", "interval 1µs: want 100µs to 1m0s"},
		{"run --target [::1]:1 --duration -1s", "duration -1s: want 0 (until interrupted) or more"},
		{"run --target [::1]:1 --json - --events -", "--json - and --events -: only one of them can have stdout"},
		{"run --target [::1]:1 --json " + dir, "--json: open " + dir + ": is a directory"},
		{"run --target [::1]:1 --events " + dir + "/no/file", "--events: open " + dir + "/no/file: no such file or directory"},
		{"run --target [::1]:1 --dns a --type NOPE", `DNS type "NOPE": unknown: want one as AAAA, A, SOA, TXT`},
		{"run --target ::1 --dns a..b", `DNS name "a..b": not a domain name`},
		{"respond", "--site is missing: the name that answers shall carry"},
		{"respond --site " + long, `site "` + long + `": site name: 1 to 32 printable ASCII characters without spaces`},
		{"respond --site a --listen localhost", `--listen "localhost": want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name`},
		{"respond --site a --port 0", "--port 0: want 1 to 65535"},
		{"respond --site a --log-level loud", `--log-level loud: must be debug, info, warn or error`},
		{"respond --site a --log-format xml", `--log-format xml: must be text or json`},
		{"query a.example", "--server is missing: ADDR[:PORT] of the DNS server"},
		{"query --server ::1", "accepts between 1 and 2 arg(s), received 0"},
		{"query --server ns a.example", `--server "ns": want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name`},
		{"query --server ::1 -o yaml a.example", `-o "yaml": want text or json`},
		{"query --server ::1 --timeout 0s a.example", "--timeout 0s: want more than 0"},
		{"query --server ::1 a.example NOPE", `DNS type "NOPE": unknown: want one as AAAA, A, SOA, TXT`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			got := execute(t.Context(), strings.Fields(tt.args)...)
			if want := (result{1, "", "edgeprobe: " + tt.want + "\n"}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--help", "run --help", "respond --help", "query --help", "--version"} {
		got := execute(t.Context(), strings.Fields(args)...)
		if got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, "edgeprobe") {
			t.Errorf("%s: %+v", args, got)
		}
		if strings.HasPrefix(args, "r") && !strings.Contains(got.stdout, "Examples:") {
			t.Errorf("%s: no examples", args)
		}
	}
}

func decode(t *testing.T, text string) (r probe.Report) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return r
}

func TestRunWritesResults(t *testing.T) {
	nettest.Need(t)
	target, file := responder(t), filepath.Join(t.TempDir(), "result.json")
	got := execute(t.Context(), "run", "--target", target, "--interval", "1ms", "--duration", "20ms", "--json", file)
	if got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, "no outages") || strings.Contains(got.stdout, "\x1b") {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r := decode(t, string(text)); r.Scheduled != 20 || r.BySite["mec-1"] != r.Received || r.Received == 0 {
		t.Errorf("%+v", r)
	}
}

// With --json - stdout is for machines only.
func TestRunJSONToStdout(t *testing.T) {
	nettest.Need(t)
	got := execute(t.Context(), "run", "--target", responder(t), "--interval", "1ms", "--duration", "20ms", "--json", "-")
	if r := decode(t, got.stdout); got.status != 0 || r.Scheduled != 20 || !strings.Contains(got.stderr, "no outages") {
		t.Errorf("%+v", got)
	}
}

// What SIGINT does: the context ends, the result is written, the status is 0.
func TestRunInterrupted(t *testing.T) {
	nettest.Need(t)
	file := filepath.Join(t.TempDir(), "result.json")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	target, status := responder(t), make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		defer write.Close()
		status <- run(ctx, []string{"run", "--target", target, "--duration", "0", "--events", "-", "--json", file}, write, &stderr)
	}()
	names := map[string]int{}
	for lines := bufio.NewScanner(read); lines.Scan(); {
		var e probe.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.MonoNs <= 0 {
			t.Errorf("%v: %s", err, lines.Bytes())
		}
		if e.Event == "site" && e.Site != "mec-1" {
			t.Errorf("site %q", e.Site)
		}
		if names[e.Event]++; names["progress"] == 3 && names["site"] == 1 {
			cancel()
		}
	}
	if got := <-status; got != 0 || !strings.Contains(stderr.String(), "mec-1") {
		t.Errorf("status %d, stderr %s", got, stderr.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r := decode(t, string(text)); r.Sent == 0 || r.Received != r.Sent {
		t.Errorf("%+v", r)
	}
}

// Interrupted before it began it still leaves a whole result.
func TestRunInterruptedAtOnce(t *testing.T) {
	nettest.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := execute(ctx, "run", "--target", responder(t), "--json", "-")
	if r := decode(t, got.stdout); got.status != 0 || r.Sent != 0 || r.BySite == nil || r.Outages == nil || !strings.Contains(got.stderr, "no site answered") {
		t.Errorf("%+v", got)
	}
}

// failing is a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("no space left on device") }

func TestRunCannotWrite(t *testing.T) {
	nettest.Need(t)
	target := responder(t)
	for _, flag := range []string{"--json", "--events"} {
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"run", "--target", target, "--interval", "1ms", "--duration", "20ms", flag, "-"}, failing{}, &stderr)
		if want := "edgeprobe: " + flag + ": no space left on device\n"; status != 1 || stderr.String() != want {
			t.Errorf("%s: %d, %q; want %q", flag, status, stderr.String(), want)
		}
	}
}

func TestRespond(t *testing.T) {
	nettest.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	status := make(chan int, 1)
	go func() {
		defer write.Close()
		status <- run(ctx, []string{"respond", "--site", "mec-1", "--listen", "127.0.0.1", "--port", "7001", "--listen", "[2001:db8:80::80]"}, io.Discard, write)
	}()
	var log strings.Builder
	for lines := bufio.NewScanner(read); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if !strings.Contains(lines.Text(), "answering probes") {
			continue
		}
		second := execute(ctx, "respond", "--site", "mec-2", "--listen", "127.0.0.1:7001")
		want := "edgeprobe: listen on udp 127.0.0.1:7001: address already in use: end the program that has it, or choose another port\n"
		if second.status != 1 || !strings.HasSuffix(second.stderr, want) {
			t.Errorf("port in use: %+v", second)
		}
		if got := execute(ctx, "run", "--target", "127.0.0.1:7001", "--interval", "1ms", "--duration", "10ms", "--json", "-"); decode(t, got.stdout).BySite["mec-1"] == 0 {
			t.Errorf("%+v", got)
		}
		cancel()
	}
	if got := <-status; got != 0 {
		t.Errorf("status %d", got)
	}
	first, _, _ := strings.Cut(log.String(), "\n")
	for _, want := range []string{"version=", "mec-1", "127.0.0.1:7001", "[2001:db8:80::80]:7001"} {
		if !strings.Contains(first, want) {
			t.Errorf("first line %q lacks %s", first, want)
		}
	}
}

// nameServer answers every query with one record, as mec-1.
func nameServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR(q.Question[0].Name + " 5 IN AAAA 2001:db8:1::10")
		if err != nil {
			t.Error(err)
		}
		m.Answer = []dns.RR{rr}
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "6d65632d31"}}
		_ = w.WriteMsg(m)
	})}
	done, up := make(chan error, 1), make(chan struct{})
	server.NotifyStartedFunc = func() { close(up) }
	go func() { done <- server.ActivateAndServe() }()
	<-up
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return conn.LocalAddr().String()
}

func TestQuery(t *testing.T) {
	nettest.Need(t)
	server := nameServer(t)
	got := execute(t.Context(), "query", "--server", server, "api.edge.example")
	want := "api.edge.example. 5 IN AAAA 2001:db8:1::10\n"
	if got.status != 0 || !strings.HasPrefix(got.stdout, "NOERROR from site mec-1 ("+server+") in ") || !strings.HasSuffix(got.stdout, want) {
		t.Errorf("%+v", got)
	}
	var reply probe.Reply
	got = execute(t.Context(), "query", "--server", server, "-o", "json", "api.edge.example", "aaaa")
	if err := json.Unmarshal([]byte(got.stdout), &reply); err != nil || got.status != 0 || reply.Site != "mec-1" || len(reply.Answers) != 1 {
		t.Errorf("%v: %+v", err, got)
	}
	closed := execute(t.Context(), "query", "--server", "[::1]:9", "a.")
	if want := (result{1, "", "edgeprobe: server [::1]:9: connection refused\n"}); closed != want {
		t.Errorf("%+v, want %+v", closed, want)
	}
}

func TestRunDNS(t *testing.T) {
	nettest.Need(t)
	got := execute(t.Context(), "run", "--dns", "api.edge.example.", "--target", nameServer(t), "--interval", "1ms", "--duration", "20ms", "--json", "-")
	if r := decode(t, got.stdout); r.Mode != "dns" || r.BySite["mec-1"] == 0 || r.Lost != 0 {
		t.Errorf("%+v", got)
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"::1", "[::1]:53"}, {"[::1]", "[::1]:53"}, {"[::1]:5", "[::1]:5"}, {"192.0.2.1", "192.0.2.1:53"},
		{"192.0.2.1:5", "192.0.2.1:5"}, {"fe80::1%lo", "[fe80::1%lo]:53"},
		{"", ""}, {"[::1", ""}, {":5", ""}, {"a:5", ""}, {"[::1]x", ""}, {"192.0.2.1:x", ""},
	} {
		got, err := parseAddress("item", tt.text, 53)
		if (err != nil) != (tt.want == "") || err == nil && got.String() != tt.want {
			t.Errorf("%q: %s, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}
