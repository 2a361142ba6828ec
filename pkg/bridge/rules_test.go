package bridge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// Whatever a process that was killed in the middle left behind, the local table's rule ends where it belongs.
func TestLocalRule(t *testing.T) {
	nettest.Need(t)
	k, err := newKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	const foreign = unix.RTPROT_BOOT
	first, ours, theirs := localRule(family6, 0, unix.RTPROT_KERNEL), localRule(family6, localPreference, protocol), localRule(family6, localPreference, foreign)
	for _, test := range []struct {
		name             string
		before           []netlink.Rule
		moved, afterward []netlink.Rule
	}{
		{"as the kernel makes it", []netlink.Rule{first}, []netlink.Rule{ours}, []netlink.Rule{first}},
		{"killed between adding and deleting", []netlink.Rule{first, ours}, []netlink.Rule{ours}, []netlink.Rule{first}},
		{"moved before", []netlink.Rule{ours}, []netlink.Rule{ours}, []netlink.Rule{first}},
		{"moved by somebody else", []netlink.Rule{theirs}, []netlink.Rule{theirs}, []netlink.Rule{theirs}},
		{"copied by somebody else", []netlink.Rule{first, theirs}, []netlink.Rule{theirs, localRule(family6, localPreferenceOther, protocol)}, []netlink.Rule{first, theirs}},
	} {
		t.Run(test.name, func(t *testing.T) {
			setLocal(t, k, test.before)
			defer setLocal(t, k, []netlink.Rule{first})
			if err := k.moveLocal(family6); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.moved, local(t, k)); d != "" {
				t.Errorf("moved (-want +got):\n%s", d)
			}
			if err := k.restore(); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.afterward, local(t, k)); d != "" {
				t.Errorf("put back (-want +got):\n%s", d)
			}
		})
	}
}

func local(t *testing.T, k *kernel) []netlink.Rule {
	t.Helper()
	rules, err := k.list(family6)
	if err != nil {
		t.Fatal(err)
	}
	var all []netlink.Rule
	for _, r := range rules {
		if forLocal(r) {
			all = append(all, localRule(family6, r.Priority, r.Protocol))
		}
	}
	return all
}

func setLocal(t *testing.T, k *kernel, want []netlink.Rule) {
	t.Helper()
	for _, r := range local(t, k) {
		if err := k.remove(family6, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range want {
		if err := k.RuleAdd(&r); err != nil {
			t.Fatal(err)
		}
	}
}
