package dnsserver

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// logged answers queries of "CLIENT NAME TYPE" and returns the lines that the file holds in the end.
func logged(t *testing.T, p QueryPolicy, queries ...string) (lines []line) {
	t.Helper()
	p.File = filepath.Join(t.TempDir(), "queries.jsonl")
	l := NewQueryLog(nil)
	s, err := New(Config{Site: "mec-1", Queries: l})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(accessContent()); err != nil {
		t.Fatal(err)
	}
	if err := l.Set(p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	count := s.metrics.shared(udp, false)
	for _, q := range queries {
		client, asked, _ := strings.Cut(q, " ")
		s.answer(make([]byte, udpPayload), pack(t, ask(asked)), new(question), netip.MustParseAddr(client), count, moment{})
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.File)
	if err != nil {
		t.Fatal(err)
	}
	for row := range bytes.Lines(text) {
		var ln line
		if err := json.Unmarshal(row, &ln); err != nil {
			t.Fatal(err)
		}
		if since := time.Since(ln.Time); since < 0 || since > time.Hour {
			t.Errorf("time %s", ln.Time)
		}
		lines = append(lines, ln)
	}
	return lines
}

var anyTime = cmpopts.IgnoreFields(line{}, "Time", "Size")

func TestQueryLog(t *testing.T) {
	t.Parallel()
	queries := []string{
		"2001:db8:a::1 aPi.edge.example. AAAA", "2001:db8:a::1 sick.edge.example. AAAA", "::ffff:10.1.2.3 no.edge.example. MX",
		"2001:db9::1 api.edge.example. A", "2001:db8:a::1 www.example. A",
	}
	want := []line{
		{Client: "2001:db8:a::/56", Proto: "udp", Name: "aPi.edge.example.", Type: "AAAA", Rcode: "NOERROR", Answer: []string{"2001:db8:1::10", "2001:db8:1::11"}, Zone: "edge.example.", View: "inside", Why: "rr"},
		{Client: "2001:db8:a::/56", Proto: "udp", Name: "sick.edge.example.", Type: "AAAA", Rcode: "NOERROR", Answer: []string{"2001:db8:1::30"}, Zone: "edge.example.", View: "inside", Why: "no endpoint is up: answering with all of them"},
		{Client: "10.1.0.0/16", Proto: "udp", Name: "no.edge.example.", Type: "MX", Rcode: "NXDOMAIN", Zone: "edge.example.", View: "inside"},
		{Client: "2001:db9::/56", Proto: "udp", Name: "api.edge.example.", Type: "A", Rcode: "REFUSED", Zone: "edge.example.", Why: "this client may not ask for this"},
		{Client: "2001:db8:a::/56", Proto: "udp", Name: "www.example.", Type: "A", Rcode: "REFUSED", View: "inside", Why: "Not Authoritative"},
	}
	sortAnswers := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	for _, tt := range []struct {
		policy QueryPolicy
		want   []line
	}{
		{QueryPolicy{Sample: 1, Bits6: 56, Bits4: 16}, want},
		{QueryPolicy{Errors: 10, Bits6: 56, Bits4: 16}, want[3:]},
		{QueryPolicy{Errors: 1, Bits6: 56, Bits4: 16}, want[3:4]},
	} {
		if diff := cmp.Diff(tt.want, logged(t, tt.policy, queries...), anyTime, sortAnswers); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", tt.policy, diff)
		}
	}
	whole := logged(t, QueryPolicy{Sample: 1, Bits6: 128, Bits4: 32}, "10.1.2.3 no.edge.example. MX", "2001:db8:a::1 no.edge.example. MX")
	if len(whole) != 2 || whole[0].Client != "10.1.2.3" || whole[1].Client != "2001:db8:a::1" {
		t.Errorf("whole addresses: %+v", whole)
	}
}

// One in ten, of which nobody can tell beforehand which: close to a tenth of many.
func TestQueryLogSamples(t *testing.T) {
	t.Parallel()
	l := NewQueryLog(nil)
	const queries = 100000
	n := 0
	for range queries {
		if l.wants(&QueryPolicy{Sample: 10}, &exchange{}) {
			n++
		}
	}
	if n < queries/10*9/10 || n > queries/10*11/10 { // twelve standard deviations
		t.Errorf("%d of %d", n, queries)
	}
}

// Nobody writes: who answers goes on all the same, allocates nothing, and what does not fit is counted.
func TestQueryLogNeverBlocks(t *testing.T) {
	l := NewQueryLog(nil)
	if err := l.Set(QueryPolicy{Sample: 1, Bits6: 128, Bits4: 32}); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 100)
	if n := testing.AllocsPerRun(3*queueSize, func() { l.take(&exchange{}, udp, testClient, reply) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got, want := l.dropped.Load(), uint64(2*queueSize+1); got != want {
		t.Errorf("%d dropped, want %d", got, want)
	}
}

// The file may be moved away: Set opens a new one. One that cannot be opened changes nothing.
func TestQueryLogReopens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "q")
	l := NewQueryLog(nil)
	l.names = new(numbers)
	for _, old := range []string{"q1", "q2"} {
		if err := l.Set(QueryPolicy{Sample: 1, File: path}); err != nil {
			t.Fatal(err)
		}
		l.write(&entry{client: testClient})
		if err := os.Rename(path, filepath.Join(dir, old)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Set(QueryPolicy{Sample: 1, File: filepath.Join(dir, "missing", "q")}); err == nil {
		t.Error("a file in no directory was opened")
	}
	if p := l.policy.Load(); p.File != path {
		t.Errorf("policy %+v", p)
	}
	if err := l.Set(QueryPolicy{}); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"q1", "q2"} {
		if text, err := os.ReadFile(filepath.Join(dir, old)); err != nil || bytes.Count(text, []byte("\n")) != 1 {
			t.Errorf("%s: %q, %v", old, text, err)
		}
	}
}

// A full disk is told once, and does not end the log.
func TestQueryLogFullDisk(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said bytes.Buffer
	l := NewQueryLog(slog.New(slog.NewTextHandler(lockedWriter{&mu, &said}, nil)))
	l.names = new(numbers)
	if err := l.Set(QueryPolicy{Sample: 1, File: "/dev/full"}); err != nil {
		t.Skipf("no /dev/full here: %v", err)
	}
	for range 3 {
		l.write(&entry{client: testClient})
	}
	if got := l.failed.Load(); got != 3 || strings.Count(said.String(), "cannot write the query log") != 1 {
		t.Errorf("%d failed; said %s", got, said.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

// Without a file the program's log tells the same.
func TestQueryLogToLog(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	l := NewQueryLog(timeless(&said))
	s, err := New(Config{Site: "mec-1", Queries: l})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(accessContent()); err != nil {
		t.Fatal(err)
	}
	if err := l.Set(QueryPolicy{Sample: 1, Bits6: 48}); err != nil {
		t.Fatal(err)
	}
	s.handle(pack(t, ask("sick.edge.example. AAAA")), &client{address: netip.MustParseAddr("2001:db8:a::1"), proto: tcp}, s.metrics.shared(tcp, false))
	l.drain()
	want := `level=INFO msg=query client=2001:db8:a::/48 proto=tcp name=sick.edge.example. type=AAAA rcode=NOERROR answer=2001:db8:1::30 ` +
		`zone=edge.example. view=inside why="no endpoint is up: answering with all of them" size=63` + "\n"
	if diff := cmp.Diff(want, said.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkQueryLog(b *testing.B) {
	for name, p := range map[string]QueryPolicy{"off": {}, "1 in 1000": {Sample: 1000, Errors: 10}} {
		b.Run(name, func(b *testing.B) {
			l := NewQueryLog(nil)
			l.policy.Store(&p)
			x, reply := &exchange{}, make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				l.take(x, udp, testClient, reply)
			}
		})
	}
}
