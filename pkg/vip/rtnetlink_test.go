package vip

import (
	"encoding/hex"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Linux 6.18 on amd64 listed these addresses; lines: family, prefix length, flags, scope, interface; then attributes.
const (
	// 192.0.2.53/32, ours, scope host
	listedFour = `02 20 80 fe 01000000
		0800 0100 c0000235
		0800 0200 c0000235
		0500 0b00 ae000000
		0800 0800 80000000
		1400 0600 ffffffff ffffffff 00000000 00000000`
	// 2001:db8:53::53/128, ours, preferred lifetime 0
	listedSix = `0a 80 a2 00 01000000
		1400 0100 20010db8005300000000000000000053
		1400 0600 00000000 ffffffff 00000000 00000000
		0800 0800 a2000000
		0500 0b00 ae000000`
	// ::1/128, the kernel's own (IFAPROT_KERNEL_LO)
	listedLoopback = `0a 80 80 fe 01000000
		1400 0100 00000000000000000000000000000001
		1400 0600 ffffffff ffffffff 00000000 00000000
		0800 0800 80000000
		0500 0b00 01000000`
	// 10.0.0.1 with peer 10.0.0.2/31: IFA_ADDRESS is the other end
	listedPeer = `02 1f 80 00 01000000
		0800 0100 0a000002
		0800 0200 0a000001`
)

func seed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	const six = unix.IFA_F_PERMANENT | unix.IFA_F_DEPRECATED | unix.IFA_F_NODAD
	for _, test := range []struct {
		name, message string
		want          address
		err           bool
	}{
		{"IPv4", listedFour, address{prefix: prefix("192.0.2.53/32"), protocol: mark, flags: unix.IFA_F_PERMANENT}, false},
		{"IPv6", listedSix, address{prefix: prefix("2001:db8:53::53/128"), protocol: mark, flags: six}, false},
		{"the kernel's", listedLoopback, address{prefix: prefix("::1/128"), protocol: 1, flags: unix.IFA_F_PERMANENT}, false},
		{"point to point", listedPeer, address{prefix: prefix("10.0.0.1/31"), flags: unix.IFA_F_PERMANENT}, false},
		{"another family", "07 00 00 00 01000000", address{}, false},
		{"empty", "", address{}, true},
		{"no address", "02 20 80 fe 01000000", address{}, true},
		{"address of the other family", "0a 20 80 fe 01000000 0800 0200 c0000235", address{}, true},
		{"prefix too long", "02 21 80 fe 01000000 0800 0200 c0000235", address{}, true},
		{"attribute too short", "02 20 80 fe 01000000 0300 0200 c0000235", address{}, true},
		{"attribute too long", "02 20 80 fe 01000000 0900 0200 c0000235", address{}, true},
		{"half an attribute", "02 20 80 fe 01000000 0800 0200 c0000235 0500", address{}, true},
		{"last attribute not padded", "02 20 80 fe 01000000 0800 0200 c0000235 0500 0b00 ae",
			address{prefix: prefix("192.0.2.53/32"), protocol: mark, flags: 0x80}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := parse(seed(t, test.message))
			if test.err {
				if err == nil {
					t.Errorf("got %+v, want an error", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{listedFour, listedSix, listedLoopback, listedPeer, "07 00 00 00 01000000"} {
		f.Add(seed(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _, err := parse(b)
		known := len(b) > 0 && (b[0] == unix.AF_INET || b[0] == unix.AF_INET6)
		if err == nil && a.prefix.IsValid() != known {
			t.Errorf("family known %v, got %+v", known, a)
		}
	})
}
