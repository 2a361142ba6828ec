package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// maxSockets, maxRetries and maxPath bound an HTTPConfig.
	maxSockets, maxRetries, maxPath = 60_000, 100, 2000
	// retryPause is before a request tries again to connect.
	retryPause = 10 * time.Millisecond
)

// An HTTPConfig tells an HTTP what to do.
type HTTPConfig struct {
	Load
	Server         netip.AddrPort // of DNS
	Name           string         // of the service
	Port           uint16         // of its pods
	Path           string         // of the requests; begins with /
	IgnoreTTL      bool           // keep the first addresses for good, even where nobody answers there
	KeepAlive      bool           // each client keeps one connection; it outlives the TTL
	Shuffle        bool           // try the addresses of an answer in random order, not in its own
	Retries        int            // of a request that cannot connect; each asks the DNS server again
	ConnectTimeout time.Duration  // of one address
	MaxSockets     int            // requests that have one at a time, kept connections apart; further ones wait
}

func (cfg HTTPConfig) check() error {
	if err := checkServer(cfg.Server); err != nil {
		return err
	}
	switch {
	case cfg.Name == "":
		return errors.New("name: missing: that of the service")
	case cfg.Port == 0:
		return errors.New("port 0: want that of the pods, 1 to 65535")
	case !strings.HasPrefix(cfg.Path, "/") || len(cfg.Path) > maxPath || strings.ContainsFunc(cfg.Path, notInPath):
		return fmt.Errorf("path %.40q: want / and what a URL may have, up to %d bytes", cfg.Path, maxPath)
	case cfg.Retries < 0 || cfg.Retries > maxRetries:
		return fmt.Errorf("retries %d: want 0 to %d", cfg.Retries, maxRetries)
	case cfg.ConnectTimeout <= 0:
		return fmt.Errorf("connect timeout %s: want more than 0", cfg.ConnectTimeout)
	case cfg.MaxSockets < 1 || cfg.MaxSockets > maxSockets:
		return fmt.Errorf("sockets %d: want 1 to %d", cfg.MaxSockets, maxSockets)
	}
	return cfg.Load.check()
}

func notInPath(c rune) bool { return c <= ' ' || c > '~' }

func checkServer(a netip.AddrPort) error {
	if !a.IsValid() || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
		return fmt.Errorf("server %s: want the ADDRESS:PORT of a DNS server", a)
	}
	return nil
}

// An HTTP simulates clients of an HTTP service: each asks the DNS server, connects to a pod, and gets an answer.
type HTTP struct {
	cfg     HTTPConfig
	request []byte
}

// NewHTTP returns an HTTP. It opens nothing.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := (probe.Question{Name: cfg.Name, Type: "AAAA"}).Check(); err != nil {
		return nil, err
	}
	connection := "close"
	if cfg.KeepAlive {
		connection = "keep-alive"
	}
	host := net.JoinHostPort(strings.TrimSuffix(cfg.Name, "."), strconv.Itoa(int(cfg.Port)))
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: edgeprobe\r\nAccept: */*\r\nConnection: %s\r\n\r\n",
		cfg.Path, host, connection)
	return &HTTP{cfg: cfg, request: []byte(request)}, nil
}

// Run makes requests until the duration is over or ctx is done, waits for those under way, and reports. It fails only
// when it cannot start: what goes wrong later is counted in the report.
func (h *HTTP) Run(ctx context.Context) (HTTPReport, error) {
	resolver, err := probe.OpenResolver(ctx, h.cfg.Server)
	if err != nil {
		return HTTPReport{}, err
	}
	defer resolver.Close()
	r := newHTTPRun(h, resolver)
	defer r.close()
	return r.run(ctx), nil
}

// An httpClient is one that is simulated: some hundred bytes while it does nothing.
type httpClient struct {
	stub stub

	mu   sync.Mutex // guards following
	idle idle
	gap  gap
}

// An httpRun is one run.
type httpRun struct {
	*HTTP
	dns     asker
	dialer  net.Dialer
	sockets chan struct{} // holds one for each connection in use
	clients []httpClient
	tally   *httpTally
	lookups sync.WaitGroup
}

func newHTTPRun(h *HTTP, dns asker) *httpRun {
	r := &httpRun{
		HTTP: h, dns: dns, sockets: make(chan struct{}, h.cfg.MaxSockets),
		clients: make([]httpClient, h.cfg.Clients), tally: newHTTPTally(),
	}
	r.dialer.SetMultipathTCP(false)
	r.dialer.KeepAlive = -1 // requests have a deadline
	r.dialer.Timeout = h.cfg.ConnectTimeout
	return r
}

func (r *httpRun) close() {
	for i := range r.clients {
		if c := r.clients[i].idle.conn; c != nil {
			_ = c.Close()
		}
	}
}

func (r *httpRun) run(ctx context.Context) HTTPReport {
	stop := make(chan struct{})
	var teller sync.WaitGroup
	teller.Go(func() { r.cfg.tell(stop, r.tally.status) })
	l := &loop{load: r.cfg.Load, make: r.make, shed: r.shed}
	start := time.Now()
	paced(func(wait waiter) { l.run(ctx, start, wait) })
	r.lookups.Wait()
	close(stop)
	teller.Wait()
	return r.report(l, start)
}

// A result is what became of a request.
type result struct {
	reply   reply
	address netip.Addr // of the pod; may be invalid
	failure *failure   // nil: success
	retries int
	stale   bool // a kept connection had been closed by the pod
}

func (r *httpRun) shed(q request) {
	r.tally.begin()
	r.account(q, result{failure: tooMany})
}

func (r *httpRun) make(ctx context.Context, q request) {
	r.tally.begin()
	select {
	case r.sockets <- struct{}{}:
		defer func() { <-r.sockets }()
		r.account(q, r.fetch(ctx, &r.clients[q.client]))
	case <-ctx.Done():
		r.account(q, result{failure: noSocket})
	}
}

// noSocket is what a request gets whose time was over before it had a socket.
var noSocket = &failure{kindOverload, errors.New("no socket was free in time in this program")}

// fetch uses the connection that the client keeps, if any, or else makes one.
func (r *httpRun) fetch(ctx context.Context, c *httpClient) result {
	conn := r.takeIdle(c)
	if conn == nil {
		return r.fetchAnew(ctx, c)
	}
	res, started := r.exchange(ctx, c, conn)
	// A pod may close a kept connection at any time: then the request is safe to send again (RFC 9112, section 9.3.1).
	if res.failure != nil && !started && res.failure.kind == kindReset {
		res = r.fetchAnew(ctx, c)
		res.stale = true
	}
	return res
}

func (r *httpRun) takeIdle(c *httpClient) *connection {
	if !r.cfg.KeepAlive {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle.take(time.Now())
}

// fetchAnew connects, asking the DNS server again where that fails, and gets the answer.
func (r *httpRun) fetchAnew(ctx context.Context, c *httpClient) result {
	for try := 0; ; try++ {
		conn, address, failed := r.connect(ctx, c)
		if failed == nil {
			res, _ := r.exchange(ctx, c, conn)
			res.retries = try
			return res
		}
		if failed.kind == kindConnect {
			c.stub.drop()
		}
		if ctx.Err() != nil {
			failed = &failure{kindTimeout, failed.err}
		}
		if failed.kind != kindConnect || try == r.cfg.Retries || !pause(ctx, retryPause) {
			return result{address: address, failure: failed, retries: try}
		}
	}
}

// connect finds the addresses and connects to one of them.
func (r *httpRun) connect(ctx context.Context, c *httpClient) (*connection, netip.Addr, *failure) {
	start := time.Now()
	lookups := c.stub.both(&r.lookups, func(ipv6 bool) ([]netip.Addr, error) { return r.look(ctx, c, ipv6) }, r.order)
	e := eyeballs{dial: r.dial}
	conn, address, failed := e.connect(ctx, lookups)
	if failed != nil {
		return nil, address, failed
	}
	r.tally.connected(time.Since(start), address)
	return newConnection(conn, address), address, nil
}

// look asks the DNS server for addresses of one family. It goes on when the request has ended, as resolvers do: the
// next one is glad of the answer.
func (r *httpRun) look(ctx context.Context, c *httpClient, ipv6 bool) ([]netip.Addr, error) {
	kind := "A"
	if ipv6 {
		kind = "AAAA"
	}
	ctx = context.WithoutCancel(ctx)
	start := time.Now()
	response, err := lookup(ctx, r.dns, probe.Question{Name: r.cfg.Name, Type: kind})
	r.tally.looked(time.Since(start), err == nil)
	if err != nil {
		return nil, err
	}
	c.stub.keep(ipv6, answer{addresses: response.Addresses}, response.TTL, r.cfg.IgnoreTTL)
	return response.Addresses, nil
}

// order returns addresses as a client tries them.
func (r *httpRun) order(addresses []netip.Addr) []netip.Addr {
	if !r.cfg.Shuffle || len(addresses) < 2 {
		return addresses
	}
	addresses = slices.Clone(addresses) // the cache keeps its own
	rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	return addresses
}

func (r *httpRun) dial(ctx context.Context, a netip.Addr) (net.Conn, error) {
	return r.dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(a, r.cfg.Port).String())
}

// exchange gets the answer over a connection, and keeps that for the client or closes it.
func (r *httpRun) exchange(ctx context.Context, c *httpClient, conn *connection) (res result, started bool) {
	reply, started, err := conn.exchange(ctx, r.request)
	res = result{reply: reply, address: conn.address}
	if err == nil && reply.keep && r.cfg.KeepAlive {
		c.mu.Lock()
		c.idle.put(conn, time.Now())
		c.mu.Unlock()
	} else {
		_ = conn.Close()
	}
	switch {
	case err != nil:
		res.failure = classify(err)
	case reply.status < 200 || reply.status > 299:
		res.failure = &failure{kindStatus, fmt.Errorf("status %d", reply.status)}
	}
	return res, started
}

// account counts a request that has ended.
func (r *httpRun) account(q request, res result) {
	now := time.Now()
	c := &r.clients[q.client]
	c.mu.Lock()
	if res.failure == nil {
		c.gap.success(q.due, now)
	} else {
		c.gap.failed(q.due)
	}
	c.mu.Unlock()
	r.tally.end(res, now.Sub(q.due))
}
