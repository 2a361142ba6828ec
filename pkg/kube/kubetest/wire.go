package kubetest

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Wire is a way to the API server that tests may cut.
type Wire struct {
	cluster  *Cluster
	listener *net.TCPListener

	mu    sync.Mutex
	links map[*link]bool
}

// link is a connection that goes through a wire.
type link struct {
	near, far net.Conn
	mute      atomic.Bool
}

// Wire lays a way to the API server; it ends with the test.
func (c *Cluster) Wire(t testing.TB) *Wire {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{cluster: c, listener: l, links: make(map[*link]bool)}
	ended := make(chan struct{})
	go func() { w.serve(); close(ended) }()
	t.Cleanup(func() {
		_ = l.Close()
		w.Cut()
		<-ended
	})
	return w
}

// Kubeconfig returns a file to speak to the API as a user, over the wire.
func (w *Wire) Kubeconfig(t testing.TB, user string) string {
	t.Helper()
	return writeKubeconfig(t, kubeconfig("https://"+w.listener.Addr().String(), token(user)))
}

// Cut ends the connections that are. Others may follow.
func (w *Wire) Cut() {
	w.each(func(l *link) { l.close() })
}

// Mute has the connections that are carry nothing any more, without a word. Others may follow.
func (w *Wire) Mute() {
	w.each(func(l *link) { l.mute.Store(true) })
}

func (w *Wire) each(do func(*link)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.links {
		do(l)
	}
}

// serve carries connections until the listener is closed, and returns when all have ended.
func (w *Wire) serve() {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		near, err := w.listener.Accept()
		if err != nil {
			w.Cut()
			return
		}
		far, err := net.Dial("tcp", fmt.Sprintf("[::1]:%d", w.cluster.serverPort))
		if err != nil {
			_ = near.Close() // the server is away
			continue
		}
		l := &link{near: near, far: far}
		w.mu.Lock()
		w.links[l] = true
		w.mu.Unlock()
		running.Go(func() { l.carry(far, near) })
		running.Go(func() {
			l.carry(near, far)
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.links, l)
		})
	}
}

// carry hands on what comes, and drops it while the link is mute.
func (l *link) carry(to, from net.Conn) {
	defer l.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if l.mute.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) close() {
	_ = l.near.Close()
	_ = l.far.Close()
}
