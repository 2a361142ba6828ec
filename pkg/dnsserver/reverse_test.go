package dnsserver

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

func TestReversePrefix(t *testing.T) {
	for name, want := range map[string]string{
		"ip6.arpa.":                 "::/0",
		"2.ip6.arpa.":               "2000::/4",
		"8.b.d.0.1.0.0.2.ip6.arpa.": "2001:db8::/32",
		"in-addr.arpa.":             "0.0.0.0/0",
		"10.in-addr.arpa.":          "10.0.0.0/8",
		"1.2.3.10.in-addr.arpa.":    "10.3.2.1/32",
	} {
		if got, ok := reversePrefix(name); !ok || got.String() != want {
			t.Errorf("%s is %s, %v; want %s", name, got, ok, want)
		}
	}
	for _, name := range []string{
		".", "arpa.", "e164.arpa.", "xin-addr.arpa.", "01.in-addr.arpa.", "256.in-addr.arpa.", "-1.in-addr.arpa.", "+1.in-addr.arpa.", "0x1.in-addr.arpa.", "a.in-addr.arpa.",
		"1.2.3.4.5.in-addr.arpa.", "0/25.2.0.192.in-addr.arpa.", "g.ip6.arpa.", ".in-addr.arpa.", "1.2.3.4..in-addr.arpa.", "1..2.in-addr.arpa.", `1\.2.in-addr.arpa.`, "10.ip6.arpa.", "A.ip6.arpa.", `\049.ip6.arpa.`,
	} {
		if got, ok := reversePrefix(name); ok {
			t.Errorf("%s is %s, want none", name, got)
		}
	}
}

// FuzzReversePrefix: a name stands for an address when it is that address's name.
func FuzzReversePrefix(f *testing.F) {
	for _, a := range addrs("::", "2001:db8::1", "10.1.2.3") {
		name, err := dns.ReverseAddr(a.String())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		prefix, ok := reversePrefix(name)
		if !ok || !prefix.IsSingleIP() {
			return
		}
		if got, err := dns.ReverseAddr(prefix.Addr().String()); err != nil || got != name {
			t.Errorf("%q is %s, whose name is %q, %v", name, prefix, got, err)
		}
	})
}

// The zone of all reverse names takes addresses of both families.
func TestPointersOfArpa(t *testing.T) {
	c := testContent(true)
	c.Zones = append(c.Zones, Zone{Name: "arpa.", NS: []NS{{Name: "ns.edge.example."}}})
	s := testSnapshot(t, c)
	for _, a := range []netip.Addr{netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr("2001:db8:1::10")} {
		name, err := dns.ReverseAddr(a.String())
		if err != nil {
			t.Fatal(err)
		}
		for ; name != "arpa."; name = parent(name) {
			if n := s.find(name, noView); n == nil {
				t.Errorf("%s does not exist", name)
			}
		}
	}
}
