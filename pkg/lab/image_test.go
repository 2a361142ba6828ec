package lab

import "testing"

func TestImageNeeds(t *testing.T) {
	tests := []struct {
		image     Image
		installed bool
		err       string
	}{
		{Anyedge, false, ""},
		{FRR, true, ""},
		{FRR, false, "image frr: /usr/lib/frr/zebra is missing: install Debian's package frr"},
		{BIRD, false, "image bird: bird is missing: install Debian's package bird2"},
		{ExaBGP, false, "image exabgp: exabgp is missing: install Debian's package exabgp"},
	}
	for _, tt := range tests {
		if err := tt.image.check(func(string) bool { return tt.installed }); message(err) != tt.err {
			t.Errorf("%s, installed %v: error %q, want %q", tt.image, tt.installed, message(err), tt.err)
		}
	}
}
