package bridge

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// both runs a test for both kinds of tunnel.
func both(t *testing.T, test func(t *testing.T, mode Mode)) {
	for _, mode := range []Mode{SRv6, VXLAN} {
		t.Run(mode.String(), func(t *testing.T) { test(t, mode) })
	}
}

// Both sites are sick and bridge at each other: each packet of a client crosses once, and no more.
func TestNoLoop(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		a, b := startBridge(t, w.hosts["a"], w.config("a", mode)), startBridge(t, w.hosts["b"], w.config("b", mode))
		for _, vip := range []string{vip6, vip4} {
			a.set(to(vip, Target{"b", 1}))
			b.set(to(vip, Target{"a", 1}))
			wantAnswer(t, w.client, vip, "refused") // b's kernel says so: nobody listens. All neighbors are known now
			before := w.crossed(t)
			const sent = 500
			w.send(t, vip, sent)
			bridged := a.settled(vip, sent/2).Packets - 1
			// Apart from the bridged ones there are a few of neighbor discovery; a loop would make many thousands.
			if got := w.crossed(t) - before; got < int(bridged) || got > int(bridged)+20 {
				t.Errorf("%s: %d packets from a to the router for %d of the client", vip, got, bridged)
			}
			if back := b.settled(vip, 0); back.Packets > 0 || back.Received != bridged+1 {
				t.Errorf("%s: b received %d packets for %d of the client, and bridged %d of them back", vip, back.Received, bridged+1, back.Packets)
			}
		}
	})
}

// send has the client send so many packets to a VIP, as fast as it can, and wait for no answer.
func (w *world) send(t *testing.T, vip string, n int) {
	t.Helper()
	var conn net.Conn
	w.client.do(t, func() (err error) { conn, err = net.Dial("udp", net.JoinHostPort(vip, fmt.Sprint(port))); return err })
	defer conn.Close()
	for sent := 0; sent < n; {
		if _, err := conn.Write([]byte("?")); err == nil {
			sent++
		} else if !isErrno(err, syscall.ECONNREFUSED) { // an answer to an earlier one
			t.Fatal(err)
		}
	}
}

// settled returns the traffic of a VIP once no more is counted, and more than so many packets were: on a busy machine some
// do not even arrive.
func (p *bridgeProcess) settled(vip string, more uint64) (last Traffic) {
	p.t.Helper()
	eventually(p.t, "all are counted", func() bool {
		before := last
		time.Sleep(countInterval)
		last = p.traffic(vip)
		return last.Packets+last.Received > more && last == before
	})
	return last
}

// crossed counts the packets that host a ever sent.
func (w *world) crossed(t *testing.T) (n int) {
	t.Helper()
	w.hosts["a"].do(t, func() error {
		link, err := netlink.LinkByName("e0")
		if err == nil {
			n = int(link.Attrs().Statistics.TxPackets)
		}
		return err
	})
	return n
}

// A process that was killed leaves its bridges on; the next one finds them, keeps them until it decides otherwise, and
// removes in the end what the first one made, also what belongs to peers that are no more.
func TestCrash(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		host := w.hosts["a"]
		before := dump(t, host)
		startBridge(t, w.hosts["b"], w.config("b", mode))
		w.serve(t, "b", vip6)
		w.serve(t, "a", vip6)
		on := []Wanted{to(vip4, Target{"b", 1}, Target{"c", 200}), to(vip6, Target{"b", 1})}

		first := startBridge(t, host, w.config("a", mode))
		first.set(on...)
		first.kill()
		wantAnswer(t, w.client, vip6, "b")

		second := startBridge(t, host, w.config("a", mode))
		if d := cmp.Diff(on, second.first.Found, cmp.Comparer(samePrefix)); d != "" {
			t.Errorf("Found (-want +got):\n%s", d)
		}
		wantAnswer(t, w.client, vip6, "b")
		eventually(t, "what is bridged since before is counted", func() bool { return second.traffic(vip6).Packets > 0 })
		second.kill()

		fewer := w.config("a", mode)
		fewer.VIPs, fewer.Peers = fewer.VIPs[:1], []Peer{peerOf("b")}
		third := startBridge(t, host, fewer)
		if d := cmp.Diff(on[1:], third.first.Found, cmp.Comparer(samePrefix)); d != "" {
			t.Errorf("Found with fewer VIPs (-want +got):\n%s", d)
		}
		third.set()
		wantAnswer(t, w.client, vip6, "a")
		third.stop()
		if d := cmp.Diff(before, dump(t, host)); d != "" {
			t.Errorf("after exit (-before +after):\n%s", d)
		}
	})
}

// A process that is told to bridge nothing at all still removes what one before it left.
func TestOffRemovesLeftovers(t *testing.T) {
	w := newWorld(t, 1600)
	host := w.hosts["a"]
	before := dump(t, host)
	first := startBridge(t, host, w.config("a", VXLAN))
	first.set(to(vip6, Target{"b", 1}))
	first.kill()
	off := startBridge(t, host, Config{Mode: Off})
	if d := cmp.Diff(before, dump(t, host)); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
	want := []Wanted{to(vip6, Target{"b", 1})}
	if got := off.ask(order{Set: &want}); !strings.Contains(got.Err, "off") {
		t.Errorf("Set while off: %q", got.Err)
	}
	off.stop()
}

// What others put there is not touched, not even where they have moved the local table's rule themselves.
func TestForeignThingsStay(t *testing.T) {
	w := newWorld(t, 1600)
	host := w.hosts["a"]
	host.batch(t, `
		-6 rule add pref 12 from 2001:db8:77::/64 lookup 77
		rule add pref 100 lookup local
		rule del pref 0
		-6 route add 2001:db8:77::/64 dev e0 table 53000 proto static
		route add 203.0.113.0/24 dev e0 table 53001 proto static`)
	host.run(t, "nft", "add", "table", "inet", "other")
	before := dump(t, host)
	b := startBridge(t, host, w.config("a", SRv6))
	b.set(to(vip6, Target{"b", 1}), to(vip4, Target{"b", 1}))
	for _, line := range []string{"from 2001:db8:77::/64 lookup 77", "203.0.113.0/24 dev e0 table 53001", "table inet other"} {
		if !strings.Contains(dump(t, host), line) {
			t.Errorf("%q is gone", line)
		}
	}
	b.stop()
	if d := cmp.Diff(before, dump(t, host)); d != "" {
		t.Errorf("after exit (-before +after):\n%s", d)
	}
}

// In no moment of starting and stopping is there no rule for the local table.
func TestLocalRuleIsAlwaysThere(t *testing.T) {
	w := newWorld(t, 1600)
	host := w.hosts["a"]
	var handle *netlink.Handle
	host.do(t, func() (err error) { handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err })
	defer handle.Close()
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { looked <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			for _, f := range []family{family6, family4} {
				rules, err := handle.RuleList(int(f))
				if err == nil && !hasLocal(rules) {
					t.Errorf("%v: no rule for the local table: %v", f, rules)
					return
				}
			}
		}
	}()
	for range 3 {
		startBridge(t, host, w.config("a", SRv6)).stop()
	}
	close(stop)
	if n := <-looked; n < 100 {
		t.Errorf("looked only %d times", n)
	}
}

func hasLocal(rules []netlink.Rule) bool {
	for _, r := range rules {
		if forLocal(r) {
			return true
		}
	}
	return false
}

// A firewall that begins with "flush ruleset", and worse, takes away what is ours: it comes back.
func TestWhatIsTakenAwayComesBack(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		host := w.hosts["b"]
		a, b := startBridge(t, w.hosts["a"], w.config("a", mode)), startBridge(t, host, w.config("b", mode))
		w.serve(t, "b", vip6)
		a.set(to(vip6, Target{"b", 1}))
		wantAnswer(t, w.client, vip6, "b")
		for _, command := range []string{"nft flush ruleset", "ip link del anyedge0", "ip -6 rule del pref 13", "ip -6 rule add pref 0 lookup local"} {
			host.run(t, strings.Fields(command)...)
			eventually(t, command+" is put right", func() bool { return b.ask(order{}).Err == "" && ask(t, w.client, vip6) == "b" })
			eventually(t, command+": the local rule is behind", func() bool {
				return !strings.HasPrefix(host.run(t, "ip", "-6", "rule"), "0:")
			})
		}
		w.hosts["a"].run(t, "ip", "link", "del", "anyedge0") // and the bridges with it
		eventually(t, "the bridge is back", func() bool { return ask(t, w.client, vip6) == "b" })
	})
}

// The excess is dropped here and counted.
func TestLimit(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		cfg := w.config("a", mode)
		cfg.Limit = 100
		a, b := startBridge(t, w.hosts["a"], cfg), startBridge(t, w.hosts["b"], w.config("b", mode))
		for _, vip := range []string{vip6, vip4} {
			w.serve(t, "b", vip)
			a.set(to(vip, Target{"b", 1}))
			wantAnswer(t, w.client, vip, "b") // all neighbors are known now: none of the following is lost on the way
			const sent = 1000
			start := time.Now()
			w.send(t, vip, sent)
			last := a.settled(vip, sent/2)
			passed := last.Packets - last.Dropped
			most := uint64(2*(cfg.Limit/10) + int(time.Since(start).Seconds()*float64(cfg.Limit)) + 10)
			if passed == 0 || passed > most {
				t.Errorf("%s: %d of %d passed, want at most %d", vip, passed, sent, most)
			}
			eventually(t, "what passed is received", func() bool { return b.traffic(vip).Received == passed })
		}
	})
}

// Several targets share the clients by weight.
func TestWeights(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		a := startBridge(t, w.hosts["a"], w.config("a", mode))
		const clients = 128
		var addresses strings.Builder
		for i := range clients {
			fmt.Fprintf(&addresses, "addr add 2001:db8:c::1:%x/64 dev e0 nodad\naddr add 198.51.100.%d/24 dev e0\n", i, 10+i)
		}
		w.client.batch(t, addresses.String())
		for _, host := range []string{"b", "c"} {
			startBridge(t, w.hosts[host], w.config(host, mode))
			w.serve(t, host, vip6)
			w.serve(t, host, vip4)
		}
		for vip, local := range map[string]func(i int) string{
			vip6: func(i int) string { return fmt.Sprintf("2001:db8:c::1:%x", i) },
			vip4: func(i int) string { return fmt.Sprintf("198.51.100.%d", 10+i) },
		} {
			a.set(to(vip, Target{"b", 3}, Target{"c", 1}))
			answered := map[string]int{}
			for i := range clients {
				answered[askFrom(t, w.client, local(i), vip)]++
			}
			// 96 expected for b, standard deviation 5.
			if b, c := answered["b"], answered["c"]; b+c != clients || b < 72 || b > 120 {
				t.Errorf("%s: %v, want about 3 of 4 for b", vip, answered)
			}
			a.set(to(vip, Target{"c", 1})) // b is sick meanwhile
			wantAnswer(t, w.client, vip, "c")
		}
	})
}

// A connection to the service that died gets a reset from the new host, where nobody knows it.
func TestReset(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		a := startBridge(t, w.hosts["a"], w.config("a", mode))
		startBridge(t, w.hosts["b"], w.config("b", mode))
		for _, vip := range []string{vip6, vip4} {
			conn := w.deadConnection(t, vip)
			defer conn.Close()
			a.set(to(vip, Target{"b", 1}))
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); !isErrno(err, syscall.ECONNRESET) {
				t.Errorf("%s: the client reads %v, want a reset", vip, err)
			}
			eventually(t, "it was bridged: the reset is the new host's", func() bool { return a.traffic(vip).Packets > 0 })
		}
	})
}

// A service that hangs still holds its connections. Where the kernel does not look for their sockets before it routes
// (tcp_early_demux), they are reset as well.
func TestResetOfHungService(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		a := startBridge(t, w.hosts["a"], w.config("a", mode))
		startBridge(t, w.hosts["b"], w.config("b", mode))
		for _, vip := range []string{vip6, vip4} {
			var l net.Listener
			w.hosts["a"].do(t, func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(vip, fmt.Sprint(port))); return err })
			defer l.Close()
			var conn net.Conn
			w.client.do(t, func() (err error) { conn, err = net.Dial("tcp", l.Addr().String()); return err })
			defer conn.Close()
			a.set(to(vip, Target{"b", 1}))
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); !isErrno(err, syscall.ECONNRESET) {
				t.Errorf("%s: the client reads %v, want a reset", vip, err)
			}
		}
	})
}

// deadConnection returns a client's TCP connection to host a, where nothing is left of it: no socket, and no farewell,
// as after a crash whose farewell was lost.
func (w *world) deadConnection(t *testing.T, vip string) net.Conn {
	t.Helper()
	var l net.Listener
	w.hosts["a"].do(t, func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(vip, fmt.Sprint(port))); return err })
	defer l.Close()
	var conn net.Conn
	w.client.do(t, func() (err error) { conn, err = net.Dial("tcp", l.Addr().String()); return err })
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
	if err != nil {
		t.Skipf("needs TCP_REPAIR: %v", err)
	}
	_ = accepted.Close()
	return conn
}

// A packet too big for the VXLAN is answered by packet-too-big, and the client's kernel learns the MTU of the tunnel.
func TestPacketTooBig(t *testing.T) {
	for _, test := range []struct {
		vip                 string
		level, discover, do int
		get                 int
	}{
		{vip6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU},
		{vip4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU},
	} {
		t.Run(test.vip, func(t *testing.T) {
			w := newWorld(t, 1500)
			cfg := w.config("a", Auto)
			a := startBridge(t, w.hosts["a"], cfg)
			startBridge(t, w.hosts["b"], w.config("b", Auto))
			if a.first.Mode != "vxlan" {
				t.Errorf("over an underlay of 1500: mode %s, want vxlan", a.first.Mode)
			}
			w.serve(t, "b", test.vip)
			a.set(to(test.vip, Target{"b", 1}))
			var conn net.Conn
			w.client.do(t, func() (err error) {
				conn, err = net.Dial("udp", net.JoinHostPort(test.vip, fmt.Sprint(port)))
				return err
			})
			defer conn.Close()
			raw, _ := conn.(*net.UDPConn).SyscallConn()
			_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), test.level, test.discover, test.do) })
			mtu := 0
			eventually(t, "the client learns the MTU", func() bool {
				_, _ = conn.Write(make([]byte, 1450))
				_ = raw.Control(func(fd uintptr) { mtu, _ = unix.GetsockoptInt(int(fd), test.level, test.get) })
				return mtu < 1500
			})
			if mtu != 1500-overheadVXLAN6 {
				t.Errorf("learned %d, want %d", mtu, 1500-overheadVXLAN6)
			}
			wantAnswer(t, w.client, test.vip, "b")
		})
	}
}

// With room underneath, the biggest of a client's packets pass SRv6 whole.
func TestBigPacketsPassSRv6(t *testing.T) {
	w := newWorld(t, clientMTU+overheadSRv6)
	a := startBridge(t, w.hosts["a"], w.config("a", Auto))
	startBridge(t, w.hosts["b"], w.config("b", Auto))
	if a.first.Mode != "srv6" {
		t.Errorf("over an underlay of 1540: mode %s, want srv6", a.first.Mode)
	}
	for vip, headers := range map[string]int{vip6: 48, vip4: 28} {
		w.serve(t, "b", vip)
		a.set(to(vip, Target{"b", 1}))
		var conn net.Conn
		w.client.do(t, func() (err error) { conn, err = net.Dial("udp", net.JoinHostPort(vip, fmt.Sprint(port))); return err })
		defer conn.Close()
		if _, err := conn.Write(make([]byte, clientMTU-headers)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 10)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != "b" {
			t.Errorf("%s: %q, %v", vip, b[:n], err)
		}
	}
}

// A probe with a peer's mark reaches the peer, though its destination is an address of this host, bridged or not; the
// answer comes from the peer's unicast address.
func TestMark(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		a := startBridge(t, w.hosts["a"], w.config("a", mode))
		startBridge(t, w.hosts["b"], w.config("b", mode))
		for vip, source := range map[string][2]string{vip6: {"2001:db8:1::2", "2001:db8:2::2"}, vip4: {"10.0.1.2", "10.0.2.2"}} {
			var receiver, answerer net.PacketConn
			w.hosts["b"].do(t, func() (err error) {
				if receiver, err = net.ListenPacket("udp", net.JoinHostPort(vip, "9412")); err == nil {
					answerer, err = net.ListenPacket("udp", net.JoinHostPort(source[1], "0"))
				}
				return err
			})
			defer receiver.Close()
			defer answerer.Close()
			w.serve(t, "a", vip)
			for _, wanted := range [][]Wanted{nil, {to(vip, Target{"c", 1})}} {
				a.set(wanted...)
				var probe *net.UDPConn
				w.hosts["a"].do(t, func() (err error) {
					probe, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(source[0])})
					return err
				})
				defer probe.Close()
				raw, _ := probe.SyscallConn()
				_ = raw.Control(func(fd uintptr) {
					if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(a.first.Marks["b"])); err != nil {
						t.Error(err)
					}
				})
				if _, err := probe.WriteTo([]byte("well?"), &net.UDPAddr{IP: net.ParseIP(vip), Port: 9412}); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 10)
				_ = receiver.SetDeadline(time.Now().Add(time.Second))
				_, from, err := receiver.ReadFrom(b)
				if err != nil {
					t.Fatalf("%s: the peer hears %v", vip, err)
				}
				if _, err := answerer.WriteTo([]byte("well"), from); err != nil {
					t.Fatal(err)
				}
				_ = probe.SetDeadline(time.Now().Add(time.Second))
				if n, from, err := probe.ReadFromUDP(b); err != nil || string(b[:n]) != "well" || from.IP.String() != source[1] {
					t.Errorf("%s: answer %q from %v, %v", vip, b[:n], from, err)
				}
			}
			a.set()
		}
		if got := a.first.Marks["nobody"]; got != 0 {
			t.Errorf("mark of an unknown peer: %#x", got)
		}
	})
}

// Segments of the uplink's own network are found by neighbor discovery where they are addresses of the uplink; they
// decapsulate all the same.
func TestSegmentsOnUplink(t *testing.T) {
	w := newWorld(t, 1600)
	b := w.config("b", SRv6)
	b.SID, b.SID4 = addr("2001:db8:2::d6"), addr("2001:db8:2::d4")
	w.hosts["b"].batch(t, `
		addr add 2001:db8:2::d6/128 dev e0 nodad
		addr add 2001:db8:2::d4/128 dev e0 nodad`)
	cfg := w.config("a", SRv6)
	for i, p := range cfg.Peers {
		if p.Name == "b" {
			cfg.Peers[i].SID, cfg.Peers[i].SID4 = b.SID, b.SID4
		}
	}
	a := startBridge(t, w.hosts["a"], cfg)
	startBridge(t, w.hosts["b"], b)
	for _, vip := range []string{vip6, vip4} {
		w.serve(t, "b", vip)
		a.set(to(vip, Target{"b", 1}))
		wantAnswer(t, w.client, vip, "b")
	}
}

// Underneath may be IPv4, and the source may be left to the kernel.
func TestIPv4Underneath(t *testing.T) {
	w := newWorld(t, 1500)
	config := func(host string) Config {
		cfg := w.config(host, Auto)
		cfg.SID, cfg.SID4, cfg.Source = netip.Addr{}, netip.Addr{}, netip.Addr{}
		for i, p := range cfg.Peers {
			cfg.Peers[i] = Peer{Name: p.Name, Source: addr(fmt.Sprintf("10.0.%d.2", number(p.Name)))}
		}
		return cfg
	}
	before := dump(t, w.hosts["a"])
	a := startBridge(t, w.hosts["a"], config("a"))
	startBridge(t, w.hosts["b"], config("b"))
	if a.first.Mode != "vxlan" || len(a.first.Problems) > 0 {
		t.Errorf("mode %s, problems %+v", a.first.Mode, a.first.Problems)
	}
	if link := w.hosts["a"].run(t, "ip", "-d", "link", "show", device); !strings.Contains(link, "local 10.0.1.2") || !strings.Contains(link, "mtu 1450") {
		t.Errorf("not from 10.0.1.2 with MTU 1450:\n%s", link)
	}
	for _, vip := range []string{vip6, vip4} {
		w.serve(t, "b", vip)
		a.set(to(vip, Target{"b", 1}))
		wantAnswer(t, w.client, vip, "b")
		var probe net.Conn
		w.hosts["a"].do(t, func() (err error) {
			d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) {
					if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(a.first.Marks["b"])); err != nil {
						t.Error(err)
					}
				})
			}}
			probe, err = d.Dial("udp", net.JoinHostPort(vip, fmt.Sprint(port)))
			return err
		})
		sent := w.crossed(t)
		if _, err := probe.Write([]byte("?")); err != nil {
			t.Errorf("%s: probe: %v", vip, err)
		}
		_ = probe.Close()
		if w.crossed(t) == sent {
			t.Errorf("%s: a probe did not leave the host", vip)
		}
	}
	a.stop()
	if d := cmp.Diff(before, dump(t, w.hosts["a"])); d != "" {
		t.Errorf("after exit (-before +after):\n%s", d)
	}
}

// kube-proxy and the like rewrite destinations ahead of routing: bridged packets pass unseen by them.
func TestBridgeBeforeDNAT(t *testing.T) {
	both(t, func(t *testing.T, mode Mode) {
		w := newWorld(t, 1600)
		host := w.hosts["a"]
		host.run(t, "nft", "add table inet kube-proxy; "+
			"add chain inet kube-proxy services { type nat hook prerouting priority dstnat; }; "+
			"add rule inet kube-proxy services ip6 daddr "+vip6+" udp dport 7 counter dnat ip6 to [2001:db8:1::2]:99; "+
			"add rule inet kube-proxy services ip daddr "+vip4+" udp dport 7 counter dnat ip to 10.0.1.2:99")
		a := startBridge(t, host, w.config("a", mode))
		startBridge(t, w.hosts["b"], w.config("b", mode))
		for _, vip := range []string{vip6, vip4} {
			wantAnswer(t, w.client, vip, "refused") // by port 99
			w.serve(t, "b", vip)
			a.set(to(vip, Target{"b", 1}))
			wantAnswer(t, w.client, vip, "b")
		}
		if mode == SRv6 {
			wantProblem(t, a.ask(order{}).Problems, "kube-proxy")
		}
	})
}
