package bridge

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kubeProxies are the rules that kube-proxy makes for port 7 of the VIPs on host a, cut down to what counts: the destination
// becomes a pod's in prerouting, ahead of routing, for connections that conntrack knows. In mode ipvs it happens behind
// routing to local, where a bridged packet never comes.
var kubeProxies = map[string][]string{
	"nftables": {
		"nft add table inet kube-proxy",
		"nft add chain inet kube-proxy nat-prerouting { type nat hook prerouting priority dstnat ; }",
		"nft add rule inet kube-proxy nat-prerouting ip6 daddr " + vip6 + " udp dport 7 dnat ip6 to [2001:db8:ff::2]:70",
		"nft add rule inet kube-proxy nat-prerouting ip daddr " + vip4 + " udp dport 7 dnat ip to 10.255.0.2:70",
	},
	"iptables": {
		"ip6tables -t nat -A PREROUTING -d " + vip6 + " -p udp --dport 7 -j DNAT --to-destination [2001:db8:ff::2]:70",
		"iptables -t nat -A PREROUTING -d " + vip4 + " -p udp --dport 7 -j DNAT --to-destination 10.255.0.2:70",
	},
}

// withPod gives host a a pod behind kube-proxy, which answers on port 70 as "pod".
func withPod(t *testing.T, w *world, mode string) {
	t.Helper()
	pod, host := newNamespace(t, "pod"), w.hosts["a"]
	connect(t, pod, "eth0", host, "veth-pod", 1500)
	host.batch(t, `
		addr add 2001:db8:ff::1/64 dev veth-pod nodad
		addr add 10.255.0.1/24 dev veth-pod`)
	pod.batch(t, `
		addr add 2001:db8:ff::2/64 dev eth0 nodad
		addr add 10.255.0.2/24 dev eth0
		-6 route add default via 2001:db8:ff::1
		route add default via 10.255.0.1`)
	for _, rule := range kubeProxies[mode] {
		host.run(t, strings.Fields(rule)...)
	}
	for _, address := range []string{"2001:db8:ff::2", "10.255.0.2"} {
		var conn net.PacketConn
		pod.do(t, func() (err error) {
			conn, err = net.ListenPacket("udp", net.JoinHostPort(address, "70"))
			return err
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 100)
			for {
				_, from, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = conn.WriteTo([]byte("pod"), from)
			}
		}()
		t.Cleanup(func() { _ = conn.Close(); <-done })
	}
}

// A flow is one socket of the client's, with one entry of connection tracking wherever it is tracked.
type flow struct{ net.Conn }

func (w *world) flow(t *testing.T, vip string) flow {
	t.Helper()
	var conn net.Conn
	w.client.do(t, func() (err error) {
		conn, err = net.Dial("udp", net.JoinHostPort(vip, fmt.Sprint(port)))
		return err
	})
	t.Cleanup(func() { _ = conn.Close() })
	return flow{conn}
}

// answered wants one answer to one packet.
func (f flow) answered(t *testing.T, want string) {
	t.Helper()
	_ = f.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := f.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := f.Read(b)
	if err != nil || string(b[:n]) != want {
		t.Errorf("%s: %q answers (%v), want %q", f.RemoteAddr(), b[:n], err, want)
	}
}

// A VIP on lo and kube-proxy's rules for it get along: the Service's port goes to the pod, whether or not the address is on the
// host, and what else comes is answered by the host. Without the address such packets would go round between host and router.
func TestKubeProxyBesideVIP(t *testing.T) {
	for mode := range kubeProxies {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, 1600)
			withPod(t, w, mode)
			host := w.hosts["a"]
			for _, vip := range []string{vip6, vip4} {
				w.flow(t, vip).answered(t, "pod")
			}
			other := func(vip string, limit time.Duration) error { // another port
				var conn net.Conn
				w.client.do(t, func() (err error) {
					conn, err = net.Dial("udp", net.JoinHostPort(vip, "8"))
					return err
				})
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(limit))
				_, _ = conn.Write([]byte("?"))
				_, err := conn.Read(make([]byte, 10))
				return err
			}
			for _, vip := range []string{vip6, vip4} {
				if err := other(vip, 5*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s: another port: %v", vip, err)
				}
			}
			host.batch(t, "addr del "+vip6+"/128 dev lo\naddr del "+vip4+"/32 dev lo")
			for _, vip := range []string{vip6, vip4} {
				w.flow(t, vip).answered(t, "pod")
				if err := other(vip, 500*time.Millisecond); errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s: another port is answered by the host, whose address it is not", vip)
				}
			}
		})
	}
}

// A flow that kube-proxy has sent to a pod, and that conntrack knows, is bridged all the same: the bridge's table takes its
// packets ahead of both (notrack), and gives them back when it is switched off.
func TestBridgeOfFlowThatKubeProxyKnows(t *testing.T) {
	for mode := range kubeProxies {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, 1600)
			withPod(t, w, mode)
			a := startBridge(t, w.hosts["a"], w.config("a", VXLAN))
			startBridge(t, w.hosts["b"], w.config("b", VXLAN))
			for _, vip := range []string{vip6, vip4} {
				w.serve(t, "b", vip)
				f := w.flow(t, vip)
				f.answered(t, "pod")
				a.set(to(vip, Target{"b", 1}))
				f.answered(t, "b")
				a.set()
				f.answered(t, "pod")
			}
		})
	}
}
