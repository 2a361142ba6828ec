package bgp_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
)

const (
	ownAddress    = "fd00:1::1"
	daemonAddress = "fd00:1::2"
	interopSecret = "interop"
)

const birdConfig = `
router id 10.0.0.2;
protocol device { scan time 1; }
protocol bgp speaker {
	local fd00:1::2 as 65533;
	neighbor fd00:1::1 as 64611;
	passive on;
	password "interop";
	ttl security on;
	ipv6 { import filter anycast_in; export none; };
	ipv4 { import filter anycast_in; export none; extended next hop on; };
}
`

const frrConfig = `
router bgp 65533
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor fd00:1::1 remote-as 64611
 neighbor fd00:1::1 passive
 neighbor fd00:1::1 password interop
 neighbor fd00:1::1 ttl-security hops 1
 neighbor fd00:1::1 capability extended-nexthop
 address-family ipv4 unicast
  neighbor fd00:1::1 activate
  neighbor fd00:1::1 route-map ANYCAST-IN in
 exit-address-family
 address-family ipv6 unicast
  neighbor fd00:1::1 activate
  neighbor fd00:1::1 route-map ANYCAST-IN in
 exit-address-family
`

// snippet returns the one code block of a language in docs/routing.md.
func snippet(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "routing.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n```"+language+"\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("docs/routing.md has no block of %s", language)
	}
	return block + "\n"
}

// direct is the usual link with a daemon.
var direct = bgptest.Link{Near: []string{ownAddress + "/64"}, Far: []string{daemonAddress + "/64"}}

// What a daemon is asked, and what it answers about a de-preferred prefix.
type asked struct {
	all         string   // the whole table
	one         string   // about vip6
	depreferred []string // in the answer
	plain       []string // lacks it again
	withdrawals string   // a counter of them
	none        string   // the counter at zero
}

// interop announces to the daemon, with MD5, GTSM and IPv4 over IPv6, de-prefers, withdraws, and stops.
func interop(t *testing.T, d *bgptest.Daemon, ask asked) {
	show := ask.all
	c := config(daemonAddress, vip6, vip6b, vip4)
	c.Neighbors[0].Password, c.Neighbors[0].TTLSecurity = interopSecret, true
	got := newReports()
	c.OnReport = got.on
	s, stop := run(t, c)
	g := set(t, s, vip6, vip4)
	got.next(t, written(g))
	text := func(p netip.Prefix) string { return p.String() }
	d.WaitFor(show, []string{text(vip6), text(vip4)}, []string{text(vip6b)})
	preferences(t, s, d, ask)
	if ask.withdrawals != "" {
		d.WaitFor(ask.withdrawals, []string{ask.none}, nil)
	}
	g = set(t, s, vip6b)
	got.next(t, written(g))
	d.WaitFor(show, []string{text(vip6b)}, []string{text(vip6), text(vip4)})
	if n := s.Neighbors()[0]; !n.ExtendedNextHop {
		t.Errorf("status %+v", n)
	}
	stop()
	d.WaitFor(show, nil, []string{text(vip6b)})
}

func ownPath(n int) string { return strings.TrimSuffix(strings.Repeat("64611 ", n), " ") }

// preferences de-prefers what is announced, and takes that back.
func preferences(t *testing.T, s *bgp.Speaker, d *bgptest.Daemon, ask asked) {
	t.Helper()
	g, err := s.Set(t.Context(), worse(vip6, vip4)...)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, s, g)
	d.WaitFor(ask.one, ask.depreferred, nil)
	wait(t, s, set(t, s, vip6, vip4))
	d.WaitFor(ask.one, ask.plain, ask.depreferred)
}

func TestInteropBIRD(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartBIRD(t, direct, snippet(t, "bird")+birdConfig)
	interop(t, d, asked{
		all: "show route all", one: "show route all for " + vip6.String(),
		depreferred: []string{"BGP.as_path: " + ownPath(11), "BGP.med: 4294967294", "BGP.community: (65535,0)", "BGP.local_pref: 0"},
		plain:       []string{"BGP.as_path: " + ownPath(1) + "\n", "BGP.local_pref: 100"},
		withdrawals: "show protocols all speaker", none: "Import withdraws:            0 ",
	})
	d.WaitFor("show protocols all speaker", []string{"Administrative shutdown"}, nil)
}

// BIRD takes the preference of an internal neighbor without being told.
func TestInteropBIRDInternal(t *testing.T) {
	nettest.Need(t)
	config := strings.NewReplacer("as 65533", "as 64611", "\tttl security on;\n", "", "filter anycast_in", "all").Replace(birdConfig)
	d := bgptest.StartBIRD(t, direct, config)
	s := internal(t)
	preferences(t, s, d, asked{
		one:         "show route all for " + vip6.String(),
		depreferred: []string{"BGP.med: 4294967294", "BGP.community: (65535,0)", "BGP.local_pref: 0"},
		plain:       []string{"BGP.as_path: \n", "BGP.local_pref: 100"},
	})
}

const frrRoute = "show bgp ipv6 unicast 2001:db8:53::53/128"

func TestInteropFRR(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartFRR(t, direct, frrConfig+snippet(t, "frr"), "bgpd")
	interop(t, d, asked{
		all: "show bgp ipv6 unicast;show bgp ipv4 unicast", one: frrRoute,
		depreferred: []string{"\n  " + ownPath(11) + "\n", "metric 4294967294", "Community: graceful-shutdown", "localpref 0"},
		plain:       []string{"\n  " + ownPath(1) + "\n", "valid, external"},
	})
	d.WaitFor("show bgp neighbors json", []string{"anyedge: the agent stops"}, nil) // RFC 9003
}

// unfiltered is FRR without the route map.
var unfiltered = strings.ReplaceAll(frrConfig, "  neighbor fd00:1::1 route-map ANYCAST-IN in\n", "")

// FRR honours the community of an external neighbor without being told.
func TestInteropFRRUnasked(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartFRR(t, direct, unfiltered, "bgpd")
	c := config(daemonAddress, vip6, vip4)
	c.Neighbors[0].Password, c.Neighbors[0].TTLSecurity = interopSecret, true
	s, _ := run(t, c)
	established(t, s)
	wait(t, s, set(t, s, vip6, vip4))
	preferences(t, s, d, asked{one: frrRoute, depreferred: []string{ownPath(11), "localpref 0"}, plain: []string{"valid, external"}})
}

// FRR takes the preference of an internal neighbor.
func TestInteropFRRInternal(t *testing.T) {
	nettest.Need(t)
	config := strings.NewReplacer("65533", "64611", " neighbor fd00:1::1 ttl-security hops 1\n", "").Replace(unfiltered)
	d := bgptest.StartFRR(t, direct, config, "bgpd")
	s := internal(t)
	preferences(t, s, d, asked{
		one: frrRoute, depreferred: []string{"metric 4294967294, localpref 0"}, plain: []string{"\n  Local\n", "localpref 100", "valid, internal"},
	})
}

// internal runs a speaker with an iBGP session.
func internal(t *testing.T) *bgp.Speaker {
	t.Helper()
	c := config(daemonAddress, vip6, vip4)
	c.Neighbors[0].Password, c.Neighbors[0].ASN = interopSecret, c.ASN
	s, _ := run(t, c)
	established(t, s)
	wait(t, s, set(t, s, vip6, vip4))
	return s
}

// held holds and releases the session with a daemon, and returns how long it took to come back each time.
func held(t *testing.T, s *bgp.Speaker, d *bgptest.Daemon, show, reason string) {
	t.Helper()
	wait(t, s, set(t, s, vip6))
	d.WaitFor(show, []string{vip6.String()}, nil)
	for range 3 {
		began := time.Now()
		if err := s.Hold(t.Context(), netip.MustParseAddr(daemonAddress), "BFD down"); err != nil {
			t.Fatal(err)
		}
		status(t, s, isDown)
		down := time.Since(began)
		d.WaitFor(show, nil, []string{vip6.String()})
		gone := time.Since(began)
		d.WaitFor(reason, []string{"BFD down"}, nil)
		began = time.Now()
		if err := s.Release(t.Context(), netip.MustParseAddr(daemonAddress)); err != nil {
			t.Fatal(err)
		}
		status(t, s, isUp)
		t.Logf("down after %v, route gone within %v, established %v after Release", down, gone, time.Since(began))
		d.WaitFor(show, []string{vip6.String()}, nil)
	}
}

func TestInteropFRRHold(t *testing.T) {
	nettest.Need(t)
	for name, config := range map[string]string{"passive": unfiltered, "active": strings.ReplaceAll(unfiltered, " neighbor fd00:1::1 passive\n", "")} {
		t.Run(name, func(t *testing.T) {
			d := bgptest.StartFRR(t, direct, config, "bgpd")
			c := config6(true)
			s, _ := run(t, c)
			established(t, s)
			held(t, s, d, "show bgp ipv6 unicast", "show bgp neighbors json")
		})
	}
}

func TestInteropBIRDHold(t *testing.T) {
	nettest.Need(t)
	plain := strings.ReplaceAll(birdConfig, "filter anycast_in", "all")
	for name, config := range map[string]string{"passive": plain, "active": strings.ReplaceAll(plain, "\tpassive on;\n", "")} {
		t.Run(name, func(t *testing.T) {
			d := bgptest.StartBIRD(t, direct, config)
			s, _ := run(t, config6(true))
			established(t, s)
			held(t, s, d, "show route", "show protocols all speaker")
		})
	}
}

// config6 is a speaker for the daemons' usual configuration.
func config6(ttlSecurity bool) bgp.Config {
	c := config(daemonAddress, vip6, vip4)
	c.Neighbors[0].Password, c.Neighbors[0].TTLSecurity = interopSecret, ttlSecurity
	return c
}

// FRR sends what another site announces as long as it prefers that: it tells whether de-preference has moved the traffic.
func TestInteropFRRSendsBack(t *testing.T) {
	nettest.Need(t)
	const other = `
 neighbor fd00:1::3 remote-as 64612
 neighbor fd00:1::3 timers connect 1
 address-family ipv6 unicast
  neighbor fd00:1::3 activate
 exit-address-family
`
	link := bgptest.Link{Near: []string{"fd00:1::3/64", ownAddress + "/64"}, Far: direct.Far} // the kernel's source is the last one
	d := bgptest.StartFRR(t, link, unfiltered+other, "bgpd")
	site := bgptest.NewPeer(t, bgptest.Config{Address: netip.MustParseAddr("fd00:1::3"), ASN: 64612, SpeakerASN: routerASN, Refuse: true})
	s, _ := run(t, config6(true))
	established(t, s)
	site.Accept()
	frr := netip.MustParseAddr(daemonAddress)
	if heard := s.Heard(vip6); len(heard) > 0 {
		t.Errorf("heard from %v, and nobody announces", heard)
	}
	site.AnnouncePath(vip6, 64999) // a longer way
	awaitHeard(t, s, vip6, frr)
	wait(t, s, set(t, s, vip6))
	awaitHeard(t, s, vip6) // FRR prefers the shorter way and sends nothing back
	if _, err := s.Set(t.Context(), worse(vip6)...); err != nil {
		t.Fatal(err)
	}
	awaitHeard(t, s, vip6, frr) // the traffic has moved
	site.Withdraw(vip6)
	awaitHeard(t, s, vip6)
	d.WaitFor(frrRoute, []string{ownPath(11)}, nil)
}

const birdMultihop = `
router id 10.0.0.2;
protocol device { scan time 1; }
protocol bgp speaker {
	local fd00:1::2 as 65533;
	neighbor fd00:1::1 as 64611;
	multihop 2;
	passive on;
	password "interop";
	ipv6 { import all; export none; };
}
`

func TestInteropMultihop(t *testing.T) {
	nettest.Need(t)
	frrMultihop := strings.ReplaceAll(unfiltered, "ttl-security hops 1", "ebgp-multihop 2")
	for name, start := range map[string]func(*testing.T) (*bgptest.Daemon, string){
		"FRR": func(t *testing.T) (*bgptest.Daemon, string) {
			return bgptest.StartFRR(t, direct, frrMultihop, "bgpd"), "show bgp ipv6 unicast"
		},
		"BIRD": func(t *testing.T) (*bgptest.Daemon, string) {
			return bgptest.StartBIRD(t, direct, birdMultihop), "show route"
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, show := start(t)
			c := config6(false)
			c.Neighbors[0].Multihop = 2
			s, _ := run(t, c)
			wait(t, s, set(t, s, vip6))
			d.WaitFor(show, []string{vip6.String()}, nil)
		})
	}
}

const birdLinkLocal = `
router id 10.0.0.2;
protocol device { scan time 1; }
protocol bgp speaker {
	local fe80::2 as 65533;
	neighbor fe80::1%far as 64611;
	passive on;
	password "interop";
	ttl security on;
	ipv6 { import all; export none; };
	ipv4 { import all; export none; extended next hop on; };
}
`

const frrLinkLocal = `
router bgp 65533
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor fe80::1 remote-as 64611
 neighbor fe80::1 interface far
 neighbor fe80::1 passive
 neighbor fe80::1 capability extended-nexthop
 address-family ipv4 unicast
  neighbor fe80::1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor fe80::1 activate
 exit-address-family
`

func TestInteropLinkLocal(t *testing.T) {
	nettest.Need(t)
	link := bgptest.Link{Near: []string{"fe80::1/64"}, Far: []string{"fe80::2/64"}}
	for name, tt := range map[string]struct {
		start    func(*testing.T) *bgptest.Daemon
		show     string
		password string
	}{
		"FRR":  {func(t *testing.T) *bgptest.Daemon { return bgptest.StartFRR(t, link, frrLinkLocal, "zebra", "bgpd") }, "show bgp ipv6 unicast;show bgp ipv4 unicast", ""},
		"BIRD": {func(t *testing.T) *bgptest.Daemon { return bgptest.StartBIRD(t, link, birdLinkLocal) }, "show route", interopSecret},
	} {
		t.Run(name, func(t *testing.T) {
			d := tt.start(t)
			c := config("fe80::2%"+d.Interface, vip6, vip4)
			c.Neighbors[0].Password, c.Neighbors[0].TTLSecurity = tt.password, tt.password != ""
			s, _ := run(t, c)
			wait(t, s, set(t, s, vip6, vip4))
			d.WaitFor(tt.show, []string{vip6.String(), vip4.String()}, nil)
		})
	}
}
