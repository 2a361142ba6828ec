package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

const (
	vip6 = "2001:db8:53::53"
	vip4 = "192.0.2.53"
	port = 7
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// namespace is a network namespace and the thread that lives in it.
type namespace struct {
	name string
	fd   netns.NsHandle
	jobs chan func()
}

func newNamespace(t *testing.T, name string) *namespace {
	t.Helper()
	n := &namespace{name: name, jobs: make(chan func())}
	made := make(chan error)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		fd, err := netns.New()
		n.fd = fd
		made <- err
		for job := range n.jobs {
			job()
		}
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(n.jobs); <-ended; _ = n.fd.Close() })
	for _, s := range []string{"accept_dad", "dad_transmits"} {
		n.sysctl(t, "net/ipv6/conf/default/"+s, "0") // addresses work at once
	}
	n.run(t, "ip", "link", "set", "lo", "up")
	return n
}

// do calls f in the namespace: sockets that it opens and processes that it starts live there.
func (n *namespace) do(t *testing.T, f func() error) {
	t.Helper()
	if err := n.try(f); err != nil {
		t.Fatalf("in %s: %v", n.name, err)
	}
}

func (n *namespace) try(f func() error) error {
	done := make(chan error)
	n.jobs <- func() { done <- f() }
	return <-done
}

func (n *namespace) run(t *testing.T, command ...string) string {
	t.Helper()
	var out []byte
	n.do(t, func() (err error) {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if !strings.Contains(command[0], "/") {
			cmd.Path = program(t, command[0])
			cmd.Err = nil
		}
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
		return err
	})
	return string(out)
}

func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return dir + "/" + name
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s: tools/prepare installs it", name)
	}
	t.Skipf("needs %s: tools/prepare installs it", name)
	return ""
}

// batch runs "ip" commands, one a line.
func (n *namespace) batch(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if fields := strings.Fields(line); len(fields) > 0 {
			n.run(t, append([]string{"ip"}, fields...)...)
		}
	}
}

func (n *namespace) sysctl(t *testing.T, name, value string) {
	t.Helper()
	n.do(t, func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
}

// world is: client - router - hosts a, b, c. All hosts have the VIPs on lo; the router sends the VIPs to a.
type world struct {
	client, router *namespace
	hosts          map[string]*namespace
	mtu            int // between router and hosts
}

func newWorld(t *testing.T, mtu int) *world {
	t.Helper()
	nettest.Need(t)
	w := &world{client: newNamespace(t, "client"), router: newNamespace(t, "router"), hosts: map[string]*namespace{}, mtu: mtu}
	for _, s := range []string{"net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"} {
		w.router.sysctl(t, s, "1")
	}
	connect(t, w.client, "e0", w.router, "to-client", 1500)
	w.client.batch(t, `
		addr add 2001:db8:c::2/64 dev e0 nodad
		addr add 198.51.100.2/24 dev e0`)
	w.router.batch(t, `
		addr add 2001:db8:c::1/64 dev to-client nodad
		addr add 198.51.100.1/24 dev to-client`)
	w.client.batch(t, `
		-6 route add default via 2001:db8:c::1
		route add default via 198.51.100.1`)
	for i, name := range []string{"a", "b", "c"} {
		w.addHost(t, name, i+1)
	}
	w.route(t, "a")
	return w
}

func (w *world) addHost(t *testing.T, name string, n int) {
	t.Helper()
	host := newNamespace(t, name)
	w.hosts[name] = host
	connect(t, host, "e0", w.router, "to-"+name, w.mtu)
	w.router.batch(t, fmt.Sprintf(`
		addr add 2001:db8:%[1]d::1/64 dev to-%[2]s nodad
		addr add 10.0.%[1]d.1/24 dev to-%[2]s
		-6 route add 2001:db8:%[1]d:d::/64 via 2001:db8:%[1]d::2`, n, name))
	host.batch(t, fmt.Sprintf(`
		addr add 2001:db8:%[1]d::2/64 dev e0 nodad
		addr add 10.0.%[1]d.2/24 dev e0
		-6 route add default via 2001:db8:%[1]d::1
		route add default via 10.0.%[1]d.1
		addr add %[2]s/128 dev lo nodad preferred_lft 0
		addr add %[3]s/32 dev lo`, n, vip6, vip4))
	host.sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	host.sysctl(t, "net/ipv4/ip_forward", "1")
	host.sysctl(t, "net/ipv4/tcp_early_demux", "0")
}

// route has the router send the VIPs to that host.
func (w *world) route(t *testing.T, host string) {
	t.Helper()
	n := number(host)
	w.router.batch(t, fmt.Sprintf(`
		-6 route replace %s via 2001:db8:%d::2
		route replace %s via 10.0.%[2]d.2`, vip6, n, vip4))
}

func number(host string) int { return int(host[0]-'a') + 1 }

func connect(t *testing.T, left *namespace, leftName string, right *namespace, rightName string, mtu int) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = leftName, mtu
	left.do(t, func() error {
		link := &netlink.Veth{LinkAttrs: attrs, PeerName: rightName, PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(right.fd)}
		return netlink.LinkAdd(link)
	})
	left.run(t, "ip", "link", "set", leftName, "up")
	right.run(t, "ip", "link", "set", rightName, "up")
}

// config is that of a host, with the others as its peers.
func (w *world) config(host string, mode Mode) Config {
	self := peerOf(host)
	cfg := Config{Mode: mode, Uplinks: []string{"e0"}, SID: self.SID, SID4: self.SID4, Source: self.Source,
		VIPs: []netip.Prefix{single(addr(vip6)), single(addr(vip4))}}
	for name := range w.hosts {
		if name != host {
			cfg.Peers = append(cfg.Peers, peerOf(name))
		}
	}
	return cfg
}

func peerOf(host string) Peer {
	at := func(format string) netip.Addr { return addr(fmt.Sprintf(format, number(host))) }
	return Peer{Name: host, Site: "site", SID: at("2001:db8:%d:d::6"), SID4: at("2001:db8:%d:d::4"), Source: at("2001:db8:%d::2")}
}

// serve answers UDP packets to an address of the host with its name, until it is stopped.
func (w *world) serve(t *testing.T, host, address string) (stop func()) {
	t.Helper()
	var conn net.PacketConn
	w.hosts[host].do(t, func() (err error) {
		conn, err = net.ListenPacket("udp", net.JoinHostPort(address, fmt.Sprint(port)))
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2000)
		for {
			_, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(host), from)
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = conn.Close()
			<-done
		}
	}
	t.Cleanup(stop)
	return stop
}

// ask sends one UDP packet from a namespace to the address, and returns who answered; "" nobody, "refused" an ICMP error.
func ask(t *testing.T, from *namespace, address string) string {
	t.Helper()
	return askFrom(t, from, "", address)
}

func askFrom(t *testing.T, from *namespace, local, address string) string {
	t.Helper()
	var conn net.Conn
	from.do(t, func() (err error) {
		d := net.Dialer{}
		if local != "" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(local)}
		}
		conn, err = d.Dial("udp", net.JoinHostPort(address, fmt.Sprint(port)))
		return err
	})
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = conn.Write([]byte("?"))
	b := make([]byte, 100)
	n, err := conn.Read(b)
	switch {
	case err == nil:
		return string(b[:n])
	case isErrno(err, syscall.ECONNREFUSED):
		return "refused"
	}
	return ""
}

func wantAnswer(t *testing.T, from *namespace, address, want string) {
	t.Helper()
	if got := ask(t, from, address); got != want {
		t.Errorf("%s asks %s: %q answers, want %q", from.name, address, got, want)
	}
}

// dump is all that a bridge could change in a namespace, as a person sees it.
func dump(t *testing.T, n *namespace) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "ip -details link", "ip neigh show nud permanent", "nft list ruleset",
	} {
		fmt.Fprintf(&b, "# %s\n%s", command, n.run(t, strings.Fields(command)...))
	}
	return b.String()
}

func isErrno(err error, errno unix.Errno) bool {
	for err != nil {
		if err == errno {
			return true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		err = u.Unwrap()
	}
	return false
}

// eventually waits for what takes a moment; it fails after seconds, not after milliseconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func to(vip string, targets ...Target) Wanted { return Wanted{single(addr(vip)), targets} }

func samePrefix(a, b netip.Prefix) bool { return a == b }

func wantProblem(t *testing.T, problems []Problem, name string) {
	t.Helper()
	for _, p := range problems {
		if p.Name == name {
			return
		}
	}
	t.Errorf("no problem %s in %+v", name, problems)
}
