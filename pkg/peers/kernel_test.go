package peers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// A host is a network namespace with both VIPs on lo, and a way to its neighbor for packets with the mark, ahead of the
// kernel's own table: what a bridge prepares, with a plain link for a tunnel.
type host struct {
	t      *testing.T
	name   string
	ns     netns.NsHandle
	source netip.Addr
	other  *host
}

const mark = 7

func newHosts(t *testing.T) (a, b *host) {
	t.Helper()
	nettest.Need(t)
	a = &host{t: t, name: "1-a", source: addr("2001:db8:1::1")}
	b = &host{t: t, name: "2-a", source: addr("2001:db8:1::2"), other: a}
	a.other = b
	for _, h := range []*host{a, b} {
		h.in(func() error { return nil }) // which makes the namespace
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", Namespace: netlink.NsFd(a.ns)}, PeerName: "eth0", PeerNamespace: netlink.NsFd(b.ns)}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	a.setUp()
	b.setUp()
	return a, b
}

// in runs f on a thread in the host's namespace, which it makes the first time.
func (h *host) in(f func() error) {
	h.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		done <- func() (err error) {
			if h.ns == 0 {
				if h.ns, err = netns.New(); err != nil {
					return err
				}
				h.t.Cleanup(func() { h.ns.Close() })
			} else if err := netns.Set(h.ns); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
}

func (h *host) setUp() {
	h.t.Helper()
	h.in(func() error {
		for _, conf := range []string{"all", "eth0"} { // a new namespace has what the machine has
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+conf+"/rp_filter", []byte("0"), 0o644); err != nil {
				return err
			}
		}
		for _, name := range []string{"lo", "eth0"} {
			link, err := netlink.LinkByName(name)
			if err == nil {
				err = netlink.LinkSetUp(link)
			}
			if err != nil {
				return err
			}
		}
		for _, add := range []error{h.add("eth0", h.source, 64), h.add("lo", vip6, 128), h.add("lo", vip4, 32), h.tunnel()} {
			if add != nil {
				return add
			}
		}
		return nil
	})
}

func (h *host) add(dev string, a netip.Addr, bits int) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a, bits), Flags: unix.IFA_F_NODAD})
}

func (h *host) remove(dev string, a netip.Addr, bits int) {
	h.t.Helper()
	h.in(func() error {
		link, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(a, bits)})
	})
}

func (h *host) tunnel() error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		marked := netlink.NewRule()
		marked.Family, marked.Priority, marked.Mark, marked.Table = family, 10, mark, 100
		local := netlink.NewRule()
		local.Family, local.Priority, local.Table = family, 100, unix.RT_TABLE_LOCAL
		first := netlink.NewRule()
		first.Family, first.Priority, first.Table = family, 0, unix.RT_TABLE_LOCAL
		for _, err := range []error{netlink.RuleAdd(marked), netlink.RuleAdd(local), netlink.RuleDel(first)} {
			if err != nil {
				return fmt.Errorf("rule: %w", err)
			}
		}
	}
	if err := netlink.RouteAdd(&netlink.Route{Table: 100, LinkIndex: link.Attrs().Index, Dst: ipNet(vip6, 128), Gw: h.other.source.AsSlice()}); err != nil {
		return err
	}
	via := &netlink.Via{AddrFamily: unix.AF_INET6, Addr: h.other.source.AsSlice()}
	return netlink.RouteAdd(&netlink.Route{Table: 100, LinkIndex: link.Attrs().Index, Dst: ipNet(vip4, 32), Via: via})
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
}

// run starts the host's Peers, which end with the test.
func (h *host) run(state State) *Peers {
	h.t.Helper()
	p, err := New(nil, Config{
		Name: h.name, Site: "mec-" + h.name[:1], Source: h.source, VIPs: []netip.Addr{vip6, vip4}, Interval: UrgentInterval,
		Peers: []Peer{{h.other.name, "mec-" + h.other.name[:1], h.other.source, mark}},
		State: func(netip.Addr) State { return state },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(h.ns); err != nil {
			h.t.Error(err)
		}
		if err := p.Run(ctx); err != nil {
			h.t.Errorf("%s: Run: %v", h.name, err)
		}
	}()
	h.t.Cleanup(func() { cancel(); <-done })
	return p
}

// wait waits for a change that makes ok true.
func wait(t *testing.T, p *Peers, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-p.Changed():
		case <-limit:
			t.Fatalf("it stays %+v", p.Status())
		}
	}
}

func reaches(p *Peers, vip netip.Addr) func() bool {
	return func() bool {
		return slices.ContainsFunc(p.Status(), func(s Status) bool { return s.VIP == vip && s.Reachable })
	}
}

func TestThroughTheTunnel(t *testing.T) {
	a, b := newHosts(t)
	pa := a.run(State{Headroom: 500})
	pb := b.run(well)
	for _, vip := range []netip.Addr{vip6, vip4} {
		wait(t, pa, reaches(pa, vip))
		wait(t, pb, reaches(pb, vip))
		if got := pa.Targets(vip); !slices.Equal(got, []Target{{"2-a", 80}}) {
			t.Errorf("%s: %v", vip, got)
		}
	}
	if s := pb.Status()[0]; s.State != (State{Headroom: 100}) || s.RTT == 0 || s.Reason != "does not serve it" || pb.Targets(vip6) != nil {
		t.Errorf("%+v", s)
	}
	problems, err := testutil.CollectAndLint(pa)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}

	b.remove("lo", vip4, 32) // the tunnel leads to a host without that VIP
	wait(t, pa, not(reaches(pa, vip4)))
	if !reaches(pa, vip6)() {
		t.Error("one VIP takes the other with it")
	}
}

// A stranger hears nothing, and a peer no more than it could have asked for itself.
func TestStrangers(t *testing.T) {
	a, b := newHosts(t)
	b.run(well)
	var asking, at *net.UDPConn
	const elsewhere = "2001:db8:1::bad"
	a.in(func() error { return a.add("eth0", addr(elsewhere), 64) })
	a.in(func() (err error) {
		at, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.source, DefaultPort)))
		return err
	})
	defer at.Close()
	// from sends through the tunnel: as a's Peers would, if they were running.
	from := func(source netip.Addr, vip netip.Addr, b []byte) {
		t.Helper()
		a.in(func() (err error) {
			if asking, err = openAsking(t.Context(), family(vip), source, mark); err != nil {
				return err
			}
			_, err = asking.WriteToUDPAddrPort(b, netip.AddrPortFrom(vip, DefaultPort))
			return err
		})
		t.Cleanup(func() { asking.Close() })
	}
	ask := func(name string, vip netip.Addr, nonce uint64) []byte {
		return message{kind: request, name: name, vip: vip, nonce: nonce}.append(nil)
	}
	// hears returns the nonce of the next answer at a's configured address; the good question is repeated while b starts.
	hears := func(repeat func()) uint64 {
		t.Helper()
		b := make([]byte, 2*messageSize)
		for range 100 {
			repeat()
			_ = at.SetReadDeadline(time.Now().Add(100 * ms))
			n, who, err := at.ReadFromUDPAddrPort(b)
			if err != nil {
				continue
			}
			m, err := parseMessage(b[:n])
			if err != nil || m.kind != answer || m.name != "2-a" || m.state != well || who != netip.AddrPortFrom(addr("2001:db8:1::2"), DefaultPort) {
				t.Fatalf("%+v from %s, %v", m, who, err)
			}
			return m.nonce
		}
		t.Fatal("no answer")
		return 0
	}
	if got := hears(func() { from(a.source, vip6, ask("1-a", vip6, 1)) }); got != 1 {
		t.Errorf("nonce %d", got)
	}
	from(a.source, vip6, ask("nobody", vip6, 2))
	from(addr(elsewhere), vip6, ask("1-a", vip6, 3))
	from(a.source, vip6, ask("1-a", vip4, 4))
	from(a.source, vip6, ask("1-a", vip6, 5)[:20])
	from(a.source, vip6, message{kind: answer, name: "1-a", vip: vip6, nonce: 6}.append(nil))
	heard := make(map[uint64]bool)
	for i := range 20 { // IPv4 with a source that nobody has; the answer goes over IPv6
		nonce := hears(func() { from(dummy4, vip4, ask("1-a", vip4, uint64(100+i))) })
		heard[nonce] = true
		if nonce >= 100 {
			break
		}
	}
	for nonce := range heard {
		if nonce != 1 && nonce < 100 {
			t.Errorf("request %d is answered", nonce)
		}
	}
}

func TestTrouble(t *testing.T) {
	a, b := newHosts(t)
	b.run(well)
	var squatter *net.UDPConn
	a.in(func() (err error) {
		squatter, err = net.ListenUDP("udp4", &net.UDPAddr{Port: DefaultPort})
		return err
	})
	pa := a.run(well)
	says := func(what string) func() bool {
		return func() bool {
			return !slices.ContainsFunc(pa.Status(), func(s Status) bool { return !strings.Contains(s.Reason, what) })
		}
	}
	wait(t, pa, says("udp 0.0.0.0:9412: another program has it: end that, or give all hosts another peering.port"))
	a.remove("eth0", a.source, 64)
	squatter.Close()
	wait(t, pa, says("requests from 2001:db8:1::1: this host does not have it: add it, or correct this host's source"))
	a.in(func() error { return a.add("eth0", a.source, 64) })
	wait(t, pa, reaches(pa, vip4))
}

func TestRefusedConfigs(t *testing.T) {
	t.Parallel()
	good := func() Config {
		return Config{
			Name: "1-a", Site: "mec-1", Source: addr("2001:db8:1::1"), State: func(netip.Addr) State { return State{} },
			Peers: []Peer{{"2-a", "mec-2", addr("2001:db8:2::1"), 1}}, VIPs: []netip.Addr{vip6, vip4},
		}
	}
	if _, err := New(nil, good()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"no State":              func(c *Config) { c.State = nil },
		"name of this host":     func(c *Config) { c.Name = "" },
		"source of this host":   func(c *Config) { c.Source = netip.Addr{} },
		"at least 50ms":         func(c *Config) { c.Interval = ms },
		"1 to 63 octets":        func(c *Config) { c.Peers[0].Name = strings.Repeat("x", 64) },
		"not link-local":        func(c *Config) { c.Peers[0].Source = addr("fe80::1") },
		"has that name":         func(c *Config) { c.Peers[0].Name = "1-a" },
		"another host has sour": func(c *Config) { c.Peers[0].Source = c.Source },
		"same family":           func(c *Config) { c.Peers[0].Source = addr("192.0.2.1") },
		"is there already":      func(c *Config) { c.VIPs[1] = vip6 },
		"vip: ":                 func(c *Config) { c.VIPs[1] = addr("ff02::1") },
	} {
		c := good()
		spoil(&c)
		if _, err := New(nil, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	p, err := New(nil, Config{Name: "1-a", Site: "mec-1", Source: addr("2001:db8:1::1"), State: func(netip.Addr) State { return State{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	cancel()
	running.Wait()
	if p.Targets(vip6) != nil || p.Announced(vip6) != nil || len(p.Status()) != 0 {
		t.Error("nobody is somebody")
	}
}
