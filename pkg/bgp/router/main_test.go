package router_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/router"
)

// childEnv holds the JSON of a child: GoBGP's package variables allow one router or speaker in a process, so each node
// is this test binary again, in a network namespace of its own.
const childEnv = "ANYEDGE_ROUTER_TEST_CHILD"

// A child is one node. It reads commands from stdin, one a line, and ends when stdin is closed.
type child struct {
	Addresses map[string][]string // by interface
	Router    *router.Config
	Speaker   *speakerSpec
}

// A speakerSpec is what differs between the speakers of a test.
type speakerSpec struct {
	ASN      uint32
	RouterID netip.Addr
	Neighbor bgp.Neighbor
	Allowed  []netip.Prefix
}

func (s speakerSpec) config() bgp.Config {
	return bgp.Config{ASN: s.ASN, RouterID: s.RouterID, Neighbors: []bgp.Neighbor{s.Neighbor}, Allowed: s.Allowed}
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := runChild(spec); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	nettest.Main(func() { goleak.VerifyTestMain(m) })
}

func runChild(spec string) error {
	var c child
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	in.Scan() // the parent has moved the links here
	if err := c.plumb(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	done := make(chan error, 1)
	var speaker *bgp.Speaker
	var r *router.Router
	if c.Router != nil {
		var err error
		if r, err = router.New(*c.Router, log); err != nil {
			return err
		}
		go func() { done <- r.Run(ctx) }()
	} else {
		var err error
		if speaker, err = bgp.NewSpeaker(c.Speaker.config(), log); err != nil {
			return err
		}
		go func() { done <- speaker.Run(ctx) }()
		<-speaker.Ready()
	}
	fmt.Println("ready")
	for in.Scan() {
		if err := command(ctx, r, speaker, strings.Fields(in.Text())); err != nil {
			return err
		}
	}
	cancel()
	return <-done
}

// command tells a speaker what to announce, or a router "hold NEIGHBOR", "release NEIGHBOR" or "gone PREFIX".
func command(ctx context.Context, r *router.Router, speaker *bgp.Speaker, words []string) error {
	if r == nil {
		var ads []bgp.Advertisement
		for _, p := range words {
			ads = append(ads, bgp.Advertisement{Prefix: netip.MustParsePrefix(p)})
		}
		_, err := speaker.Set(ctx, ads...)
		return err
	}
	switch words[0] {
	case "hold":
		return r.Hold(ctx, netip.MustParseAddr(words[1]), "BFD down")
	case "release":
		return r.Release(ctx, netip.MustParseAddr(words[1]))
	default:
		r.PretendGone(netip.MustParsePrefix(words[1]))
		return nil
	}
}

func (c child) plumb() error {
	for name, addrs := range c.Addresses {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		// The addresses given are all there are: a session's source must be the one that its neighbor knows.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/addr_gen_mode", []byte("1"), 0); err != nil {
			return err
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if addr.IP.To4() == nil {
				addr.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(l, addr); err != nil {
				return fmt.Errorf("%s %s: %w", name, a, err)
			}
		}
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/keep_addr_on_down", []byte("1"), 0); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: lo.Index}})
}
