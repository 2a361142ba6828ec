package dnsserver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func unpack(t testing.TB, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

func subnetOption(addr string, source uint8) *dns.EDNS0_SUBNET {
	o := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: source, Address: net.ParseIP(addr)}
	if a := netip.MustParseAddr(addr); a.Is4() {
		o.Family = 1
	}
	return o
}

// answerTo is what from is answered, as one line.
func answerTo(t *testing.T, s *snapshot, from, question string, options ...dns.EDNS0) string {
	t.Helper()
	out, _ := reply(s, nil, pack(t, ask(question, edns(1232, options...))), udp, netip.MustParseAddr(from))
	return strings.ReplaceAll(show(unpack(t, out)), "\n", "; ")
}

// By Hash the same client is always answered alike; the prefix is told by the subnet option, else it is the resolver's.
func TestHashGoesByPrefix(t *testing.T) {
	s := testSnapshot(t, podContent())
	const question = "hash.edge.example. AAAA"
	seen := map[string]bool{}
	for i := range 200 {
		prefix := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(i)})
		one := answerTo(t, s, prefix.Next().String(), question)
		other := answerTo(t, testSnapshot(t, podContent()), strings.TrimSuffix(prefix.String(), "::")+":0:ff::9", question)
		if one != other {
			t.Fatalf("%s/56 is answered %s and %s", prefix, one, other)
		}
		seen[one] = true
		told := answerTo(t, s, "2001:db8:ffff::1", question, subnetOption(prefix.String(), 56))
		if want := strings.Replace(one, "udp 1232", "udp 1232, subnet "+prefix.String()+"/56/56", 1); told != want {
			t.Fatalf("told of %s/56: %s, want %s", prefix, told, want)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d different answers, want 6: two of three in order", len(seen))
	}
}

func TestSubnetScope(t *testing.T) {
	s := testSnapshot(t, podContent())
	for _, tt := range []struct {
		question, addr string
		source         uint8
		want           string
	}{
		{"hash.edge.example. AAAA", "2001:db8:5::", 64, "2001:db8:5::/64/56"},
		{"hash.edge.example. AAAA", "2001:db8:5::", 48, "2001:db8:5::/48/48"},
		{"hash.edge.example. A", "192.0.2.128", 25, "192.0.2.128/25/24"},
		{"hash.edge.example. AAAA", "192.0.0.0", 16, "192.0.0.0/16/16"},
		{"_dns._udp.hash.edge.example. SRV", "192.0.2.0", 24, "192.0.2.0/24/24"},
		{"hash.edge.example. AAAA", "::", 0, "::/0/0"},
		{"hash.edge.example. TXT", "192.0.2.0", 24, "192.0.2.0/24/0"},
		{"web.edge.example. AAAA", "192.0.2.0", 24, "192.0.2.0/24/0"},
		{"no.edge.example. AAAA", "192.0.2.0", 24, "192.0.2.0/24/0"},
	} {
		if got := answerTo(t, s, "192.0.2.53", tt.question, subnetOption(tt.addr, tt.source)); !strings.HasSuffix(got, ", subnet "+tt.want+"; ") {
			t.Errorf("%s for %s/%d: %s, want subnet %s", tt.question, tt.addr, tt.source, got, tt.want)
		}
	}
	// A client that does not want to be told apart: the resolver decides.
	if got, want := answerTo(t, s, "192.0.2.53", "hash.edge.example. A", subnetOption("0.0.0.0", 0)), answerTo(t, s, "192.0.2.99", "hash.edge.example. A"); !strings.HasPrefix(got, strings.TrimSuffix(want, "edns 0 udp 1232; ")) {
		t.Errorf("%s, want %s", got, want)
	}
}

// withOptions is a query whose option has any data.
func withOptions(t testing.TB, all ...string) []byte {
	var options []dns.EDNS0
	for _, data := range all {
		options = append(options, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte(data)})
	}
	return pack(t, ask("hash.edge.example. A", edns(1232, options...)))
}

func TestBadSubnets(t *testing.T) {
	s := testSnapshot(t, podContent())
	for name, tt := range map[string]struct {
		options []string
		want    int
	}{
		"good":                   {[]string{"\x00\x01\x18\x00\xc0\x00\x02"}, dns.RcodeSuccess},
		"family 0":               {[]string{"\x00\x00\x00\x00"}, dns.RcodeSuccess},
		"empty":                  {[]string{""}, dns.RcodeFormatError},
		"no address":             {[]string{"\x00\x01\x18\x00"}, dns.RcodeFormatError},
		"address cut":            {[]string{"\x00\x01\x18\x00\xc0\x00"}, dns.RcodeFormatError},
		"address too long":       {[]string{"\x00\x01\x18\x00\xc0\x00\x02\x00"}, dns.RcodeFormatError},
		"bits behind the prefix": {[]string{"\x00\x01\x17\x00\xc0\x00\x03"}, dns.RcodeFormatError},
		"scope in a query":       {[]string{"\x00\x01\x18\x18\xc0\x00\x02"}, dns.RcodeFormatError},
		"prefix too long":        {[]string{"\x00\x01\x21\x00\xc0\x00\x02\x00\x01"}, dns.RcodeFormatError},
		"unknown family":         {[]string{"\x00\x03\x08\x00\xc0"}, dns.RcodeRefused},
		"unknown family alone":   {[]string{"\x00\x03\x00\x00"}, dns.RcodeRefused},
		"unknown, and twice":     {[]string{"\x00\x03\x08\x00\xc0", "\x00\x01\x18\x00\xc0\x00"}, dns.RcodeFormatError},
		"family 0 with bits":     {[]string{"\x00\x00\x08\x00\xc0"}, dns.RcodeFormatError},
		"twice":                  {[]string{"\x00\x01\x18\x00\xc0\x00\x02", "\x00\x01\x18\x00\xc0\x00\x02"}, dns.RcodeFormatError},
	} {
		t.Run(name, func(t *testing.T) {
			if _, x := reply(s, nil, withOptions(t, tt.options...), udp, testClient); x.rcode != tt.want {
				t.Errorf("%s, want %s", dns.RcodeToString[x.rcode], dns.RcodeToString[tt.want])
			}
		})
	}
}

// optionOf is the data of an option of an answer.
func optionOf(out []byte, code uint16) []byte {
	begin, end := findOPT(out)
	for b := out[begin:end]; len(b) > 0; b = b[4+binary.BigEndian.Uint16(b[2:]):] {
		if binary.BigEndian.Uint16(b) == code {
			return b[4 : 4+binary.BigEndian.Uint16(b[2:])]
		}
	}
	return nil
}

// FuzzSubnet: any data of the option is a format error, of a family that nobody knows, or comes back as it came.
func FuzzSubnet(f *testing.F) {
	for _, data := range []string{"", "\x00\x01\x18\x00\xc0\x00\x02", "\x00\x02\x38\x00\x20\x01\x0d\xb8\x00\x00\x01", "\x00\x00\x00\x00", "\x00\x01\x17\x00\xc0\x00\x03"} {
		f.Add([]byte(data))
	}
	s := testSnapshot(f, podContent())
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1000 {
			return
		}
		out, x := reply(s, nil, withOptions(t, string(data)), udp, testClient)
		if x.rcode == dns.RcodeFormatError {
			return
		}
		if len(data) > 1 && binary.BigEndian.Uint16(data) > 2 && x.rcode == dns.RcodeRefused {
			return
		}
		got := optionOf(out, dns.EDNS0SUBNET)
		if len(got) != len(data) || string(got[:3]) != string(data[:3]) || string(got[4:]) != string(data[4:]) || binary.BigEndian.Uint16(data) > 2 {
			t.Fatalf("%x came back as %x", data, got)
		}
	})
}
