package vip

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestMain(m *testing.M) {
	nettest.Main(func() { goleak.VerifyTestMain(m) })
}

func TestSet(t *testing.T) {
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	six, four, other := prefix("2001:db8:53::53/128"), prefix("192.0.2.53/32"), prefix("2001:db8:53::54/128")
	for _, step := range []struct {
		name   string
		wanted []netip.Prefix
	}{
		{"nothing wanted, nothing there", nil},
		{"both families", []netip.Prefix{four, six}},
		{"the same again", []netip.Prefix{six, four}},
		{"one twice", []netip.Prefix{six, six, four}},
		{"one leaves, one comes", []netip.Prefix{four, other}},
		{"all leave", nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			set(t, a, step.wanted...)
			wantOurs(t, a, step.wanted...)
		})
	}
}

func TestSetDoesNotTouchWhatIsRight(t *testing.T) {
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	vips := []netip.Prefix{prefix("2001:db8:53::53/128"), prefix("192.0.2.53/32")}
	set(t, a, vips...)
	updates := make(chan netlink.AddrUpdate, 16)
	done := make(chan struct{})
	defer close(done)
	if err := netlink.AddrSubscribe(updates, done); err != nil {
		t.Fatal(err)
	}
	set(t, a, vips...)
	// The next change is the first that is seen: the Set above made none.
	set(t, a, vips[0])
	if u := <-updates; u.NewAddr || u.LinkAddress.IP.String() != "192.0.2.53" {
		t.Errorf("first change after a repeated Set: %+v, want the removal of 192.0.2.53", u)
	}
}

func TestAddressAttributes(t *testing.T) {
	dev, _ := newLink(t)
	set(t, newAddresses(t, dev), prefix("2001:db8:53::53/128"), prefix("192.0.2.53/32"))
	six, four := one(t, dev, netlink.FAMILY_V6), one(t, dev, netlink.FAMILY_V4)
	if six.PreferedLft != 0 || six.ValidLft != 1<<32-1 {
		t.Errorf("IPv6: preferred %d, valid %d; want 0 and forever", six.PreferedLft, six.ValidLft)
	}
	if six.Flags&unix.IFA_F_DEPRECATED == 0 || six.Flags&unix.IFA_F_TENTATIVE != 0 {
		t.Errorf("IPv6: flags %#x, want deprecated and not tentative", six.Flags)
	}
	if four.Scope != unix.RT_SCOPE_HOST {
		t.Errorf("IPv4: scope %d, want host", four.Scope)
	}
}

func TestRestartKeepsAndCleans(t *testing.T) {
	dev, _ := newLink(t)
	keep, drop := prefix("2001:db8:53::53/128"), prefix("192.0.2.53/32")
	set(t, newAddresses(t, dev), keep, drop)
	a := newAddresses(t, dev) // as after kill -9: nothing but the kernel remembers
	wantOurs(t, a, drop, keep)
	set(t, a, keep)
	wantOurs(t, a, keep)
	if got := all(t, dev); !cmp.Equal(got, []string{keep.String()}) {
		t.Errorf("on the interface: %v, want only %v", got, keep)
	}
}

func TestForeignAddressIsUsedAndLeft(t *testing.T) {
	dev, _ := newLink(t)
	foreign := []string{"192.0.2.1/24", "2001:db8:53::1/64"}
	for _, f := range foreign {
		addForeign(t, dev, f)
	}
	var logged strings.Builder
	a, err := New(slog.New(slog.NewTextHandler(&logged, nil)), dev)
	if err != nil {
		t.Fatal(err)
	}
	own := prefix("2001:db8:53::53/128")
	// The wanted prefix length differs: an address is an address.
	set(t, a, prefix("192.0.2.1/32"), prefix("2001:db8:53::1/128"), own)
	set(t, a, prefix("192.0.2.1/32"), own)
	wantOurs(t, a, own)
	set(t, a)
	if got := all(t, dev); !cmp.Equal(got, foreign) {
		t.Errorf("on the interface: %v, want %v", got, foreign)
	}
	if n := strings.Count(logged.String(), "was there before"); n != len(foreign) {
		t.Errorf("%d log lines, want one for each foreign address:\n%s", n, &logged)
	}
}

func TestSomebodyElseRemovesOurs(t *testing.T) {
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	vip := prefix("2001:db8:53::53/128")
	set(t, a, vip)
	deleteForeign(t, dev, vip.String())
	set(t, a, vip)
	wantOurs(t, a, vip)
}

func TestLoopback(t *testing.T) {
	nettest.Need(t)
	a := newAddresses(t, "lo")
	t.Cleanup(func() { _ = a.Set(context.Background()) })
	before := all(t, "lo")
	for _, vip := range []string{"2001:db8:53::53", "192.0.2.53"} {
		set(t, a, hostPrefix(vip))
		l, err := net.Listen("tcp", net.JoinHostPort(vip, "0"))
		if err != nil {
			t.Fatalf("bind to %s: %v", vip, err)
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("dial %s: %v", vip, err)
		}
		c.Close()
		l.Close()
	}
	set(t, a)
	if got := all(t, "lo"); !cmp.Equal(got, before) {
		t.Errorf("on lo: %v, want %v as before", got, before)
	}
}

func TestInvalidAddressTouchesNothing(t *testing.T) {
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	good := prefix("2001:db8:53::53/128")
	for bad, want := range map[netip.Prefix]string{
		prefix("2001:db8:53::/48"): "vip: 2001:db8:53::/48: must be a /128, one address: a wider prefix is announced, not owned",
		prefix("192.0.2.0/24"):     "vip: 192.0.2.0/24: must be a /32, one address: a wider prefix is announced, not owned",
		prefix("ff02::1/128"):      "vip: ff02::1/128: must be a unicast IPv6 or IPv4 address",
		prefix("::/128"):           "vip: ::/128: must be a unicast IPv6 or IPv4 address",
		netip.PrefixFrom(netip.MustParseAddr("::ffff:1.2.3.4"), 128): "vip: ::ffff:1.2.3.4/128: must be a unicast IPv6 or IPv4 address",
		{}: "vip: invalid Prefix is not an address",
	} {
		if err := a.Set(t.Context(), good, bad); err == nil || err.Error() != want {
			t.Errorf("Set(%v): %v\nwant %s", bad, err, want)
		}
	}
	wantOurs(t, a)
}

func TestMissingInterface(t *testing.T) {
	nettest.Need(t)
	const want = "vip: interface nosuch0: does not exist here: name another or create it (ip link add)"
	if _, err := New(nil, "nosuch0"); err == nil || err.Error() != want {
		t.Errorf("New: %v, want %s", err, want)
	}
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	removeLink(t, dev)
	if err := a.Set(t.Context(), prefix("192.0.2.53/32")); err == nil || !strings.Contains(err.Error(), dev) {
		t.Errorf("Set on a deleted interface: %v, want an error that names %s", err, dev)
	}
}

func TestInterfaceDown(t *testing.T) {
	dev, _ := newLink(t)
	link, _ := netlink.LinkByName(dev)
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	err := newAddresses(t, dev).Set(t.Context(), prefix("192.0.2.53/32"))
	if want := "ip link set " + dev + " up"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Set on an interface that is down: %v, want an error with %q", err, want)
	}
}

func TestCancelledSet(t *testing.T) {
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Set(ctx, prefix("192.0.2.53/32")); err == nil || !strings.Contains(err.Error(), "192.0.2.53/32") {
		t.Errorf("Set with a cancelled context: %v, want an error that names the address", err)
	}
	wantOurs(t, a)
}

// What fails for one address is told of that address: its service alone must wait.
func TestErrorsAreAboutTheirAddress(t *testing.T) {
	dev, _ := newLink(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := []netip.Prefix{prefix("192.0.2.53/32"), prefix("2001:db8:53::53/128")}
	var got []netip.Prefix
	for _, err := range leaves(newAddresses(t, dev).Set(ctx, want...)) {
		var about interface{ Address() netip.Prefix }
		if !errors.As(err, &about) || !errors.Is(err, context.Canceled) {
			t.Fatalf("%v names no address, or hides its cause", err)
		}
		got = append(got, about.Address())
	}
	if !slices.Equal(got, want) {
		t.Errorf("errors about %v, want %v", got, want)
	}
}

// leaves takes joined errors apart.
func leaves(err error) (all []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

// A kernel before 5.18 keeps no mark. What this process added is still its own.
func TestKernelWithoutMark(t *testing.T) {
	vip := prefix("2001:db8:53::53/128")
	var logged strings.Builder
	a := &Addresses{
		log:      slog.New(slog.NewTextHandler(&logged, nil)),
		unmarked: make(map[netip.Addr]bool),
		told:     make(map[netip.Addr]bool),
	}
	present := []address{{prefix: vip}, {prefix: prefix("::1/128")}}
	a.learnUnmarked(present, []netip.Prefix{vip})
	a.learnUnmarked(present, nil)
	if !a.unmarked[vip.Addr()] || len(a.unmarked) != 1 {
		t.Errorf("unmarked: %v, want %v", a.unmarked, vip.Addr())
	}
	if strings.Count(logged.String(), "Linux 5.18") != 1 {
		t.Errorf("log: %q, want one line", &logged)
	}
}
