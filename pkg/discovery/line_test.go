package discovery

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
)

// pod is a server that does with each connection what serve says, until the test ends; it counts connections.
type pod struct {
	addr  netip.AddrPort
	mu    sync.Mutex
	conns int
}

func newPod(t testing.TB, serve func(conn net.Conn, requests *bufio.Reader)) *pod {
	t.Helper()
	nettest.Need(t)
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return p
}

// replies answers each request with the next of texts, and closes after the last one.
func replies(texts ...string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, requests *bufio.Reader) {
		for _, text := range texts {
			if _, err := http.ReadRequest(requests); err != nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

func (p *pod) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

const (
	ok     = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	second = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain"
)

// askTwice makes two requests over a line, and returns what came of each.
func askTwice(t *testing.T, p *pod) (got [2]string) {
	t.Helper()
	l := newLine(Target{Address: p.addr, Path: "/load?x", Format: Prometheus}, new(net.Dialer).DialContext)
	defer l.hangUp()
	for i := range got {
		var buf bytes.Buffer
		_, err := l.ask(t.Context(), time.Now().Add(time.Minute), &buf)
		got[i] = buf.String()
		if err != nil {
			got[i] = err.Error()
		}
	}
	return got
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		serve func(net.Conn, *bufio.Reader)
		want  [2]string
		conns int
	}{
		{"a connection is kept", replies(ok, second), [2]string{"ok", "again"}, 1},
		{"chunks", replies("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", second), [2]string{"ok", "again"}, 1},
		{"interim answers", replies("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+ok, second), [2]string{"ok", "again"}, 1},
		{"the pod closes after each answer", replies(ok), [2]string{"ok", "ok"}, 2},
		{"and says so", replies("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"), [2]string{"ok", "ok"}, 2},
		{"HTTP/1.0", replies("HTTP/1.0 200 OK\r\n\r\nok"), [2]string{"ok", "ok"}, 2},
		{"an answer that nobody asked for", replies(ok+second, ok), [2]string{"ok", "ok"}, 2},
		{"another status", replies("HTTP/1.1 503 Go away\r\nContent-Length: 0\r\n\r\n"), [2]string{"answered 503 Service Unavailable", "answered 503 Service Unavailable"}, 2},
		{"a redirect is not followed", replies("HTTP/1.1 302 Found\r\nLocation: http://[::1]:1/\r\nContent-Length: 0\r\n\r\n"), [2]string{"answered 302 Found", "answered 302 Found"}, 2},
		{"no HTTP", replies("SSH-2.0-x\r\n"), [2]string{`malformed HTTP response "SSH-2.0-x"`, `malformed HTTP response "SSH-2.0-x"`}, 2},
		{"nothing", replies(""), [2]string{"closed before an answer came", "closed before an answer came"}, 2},
		{"a body that ends early", replies("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), [2]string{"in the body: unexpected EOF", "in the body: unexpected EOF"}, 2},
		{"a body too long", replies("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxBody+1)), [2]string{"the body is longer than 1024 KiB", "the body is longer than 1024 KiB"}, 2},
		{"a body as long as may be", replies("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxBody)), [2]string{strings.Repeat("x", maxBody), strings.Repeat("x", maxBody)}, 2},
		{"a head without end", endless("HTTP/1.1 200 OK\r\n", "X-Header: "+strings.Repeat("x", 1000)+"\r\n"), [2]string{"closed before an answer came", "closed before an answer came"}, 2},
		{"interim answers without end", endless("", "HTTP/1.1 100 Continue\r\n\r\n"), [2]string{"only interim answers came", "only interim answers came"}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, tt.serve)
			if got := askTwice(t, p); got != tt.want || p.connections() != tt.conns {
				t.Errorf("got %.200q over %d connections, want %.200q over %d", got, p.connections(), tt.want, tt.conns)
			}
		})
	}
}

// endless answers with text that goes on.
func endless(begin, more string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, _ *bufio.Reader) {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			_, err = io.WriteString(conn, more)
		}
	}
}

// A pod that says nothing, or one octet at a time, holds nobody longer than the timeout; and ctx ends it at once.
func TestLineEnds(t *testing.T) {
	t.Parallel()
	silent := newPod(t, func(conn net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, conn) })
	slow := newPod(t, func(conn net.Conn, _ *bufio.Reader) {
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		for err == nil {
			time.Sleep(time.Millisecond) // it is what is tested
			_, err = io.WriteString(conn, "x")
		}
	})
	for name, p := range map[string]*pod{"silent": silent, "slow": slow} {
		l := newLine(Target{Address: p.addr, Path: "/"}, new(net.Dialer).DialContext)
		if _, err := l.ask(t.Context(), time.Now().Add(20*time.Millisecond), new(bytes.Buffer)); !isTimeout(err) {
			t.Errorf("%s: %v; want a timeout", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := l.ask(ctx, time.Now().Add(time.Hour), new(bytes.Buffer)); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
}

// What is asked for, as the pod reads it.
func TestRequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		target Target
		want   string
	}{
		{
			Target{Address: netip.MustParseAddrPort("[fe80::1%eth0]:8080"), Path: "/metrics?a=b", Format: Prometheus},
			"GET /metrics?a=b HTTP/1.1\r\nHost: [fe80::1]:8080\r\nUser-Agent: anyedge-edgedns\r\nAccept: text/plain;version=0.0.4\r\n\r\n",
		},
		{
			Target{Address: netip.MustParseAddrPort("10.0.0.1:80"), Path: "/load", Format: JSON},
			"GET /load HTTP/1.1\r\nHost: 10.0.0.1:80\r\nUser-Agent: anyedge-edgedns\r\nAccept: application/json\r\n\r\n",
		},
		{
			Target{Address: netip.MustParseAddrPort("10.0.0.1:80"), Path: "/", Format: ORCA},
			"GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\nUser-Agent: anyedge-edgedns\r\nAccept: */*\r\n\r\n",
		},
	} {
		if got := string(newLine(tt.target, nil).request); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
