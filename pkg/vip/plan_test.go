package vip

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDiff(t *testing.T) {
	const six, four = "2001:db8:53::53/128", "192.0.2.53/32"
	own := func(s string) address { return address{prefix: prefix(s), protocol: mark, ours: true} }
	foreign := func(s string) address { return address{prefix: prefix(s)} }
	for _, test := range []struct {
		name    string
		wanted  []string
		present []address
		want    plan
	}{
		{"nothing", nil, nil, plan{}},
		{"foreign ones stay", nil, []address{foreign("::1/128"), foreign("192.0.2.53/32")}, plan{}},
		{"lacking ones come, once", []string{six, six}, nil, plan{add: []netip.Prefix{prefix(six)}}},
		{"what is there stays", []string{six}, []address{own(six)}, plan{}},
		{"unwanted ones go", []string{six}, []address{own(six), own(four)},
			plan{remove: []address{own(four)}}},
		{"a foreign one is used", []string{four}, []address{foreign("192.0.2.53/24")},
			plan{foreign: []address{foreign("192.0.2.53/24")}}},
		{"ours beside a foreign one of the same address", []string{four},
			[]address{foreign("192.0.2.53/24"), own(four)}, plan{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wanted []netip.Prefix
			for _, w := range test.wanted {
				wanted = append(wanted, prefix(w))
			}
			got := diff(wanted, test.present)
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(plan{}, address{}), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
