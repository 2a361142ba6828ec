package bridge

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rule identifies a rule of ours; two never have the same.
type rule struct {
	preference int
	iif        string
	mark       uint32
	table      int
}

func ruleOf(r netlink.Rule) rule { return rule{r.Priority, r.IifName, r.Mark, r.Table} }

// forLocal tells whether a rule sends every packet to the kernel's local table.
func forLocal(r netlink.Rule) bool {
	return r.Table == unix.RT_TABLE_LOCAL && r.Mark == 0 && r.Src == nil && r.Dst == nil && r.IifName == "" && r.OifName == "" &&
		!r.Invert && r.Tos == 0 && r.IPProto == 0 && r.Sport == nil && r.Dport == nil && r.TunID == 0
}

// list returns the rules of a family; none where the kernel runs without it.
func (k *kernel) list(f family) ([]netlink.Rule, error) {
	rules, err := k.RuleList(int(f))
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %v rules: %w", f, err)
	}
	return rules, nil
}

// rules makes the plan's rules the only ones of ours, ahead of the local table's. In every moment in between some rule
// leads to the local table.
func (k *kernel) rules(p plan) error {
	for _, f := range p.cfg.families() {
		if err := k.moveLocal(f); err != nil {
			return err
		}
		have, err := k.list(f)
		if err != nil {
			return err
		}
		if err := k.converge(f, have, p.rules(f), len(p.cfg.Peers)); err != nil {
			return err
		}
	}
	return nil
}

// converge adds what lacks, then removes what is ours and not wanted.
func (k *kernel) converge(f family, have, want []netlink.Rule, peers int) error {
	present := make(map[rule]bool)
	for _, r := range have {
		if r.Protocol == protocol {
			present[ruleOf(r)] = true
		}
	}
	wanted := make(map[rule]bool)
	for _, r := range want {
		wanted[ruleOf(r)] = true
		if present[ruleOf(r)] {
			continue
		}
		if err := k.RuleAdd(&r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add %v rule %d: %w", f, r.Priority, err)
		}
	}
	for _, r := range have {
		if r.Protocol != protocol || wanted[ruleOf(r)] || forLocal(r) {
			continue
		}
		if r.Table >= tablePeers+peers {
			if err := k.flush(r.Table, nothing); err != nil { // of a peer that is no more
				return err
			}
		}
		if err := k.remove(f, r); err != nil {
			return err
		}
	}
	return nil
}

// remove removes one rule that was listed.
func (k *kernel) remove(f family, r netlink.Rule) error {
	r.Family = int(f)
	if err := k.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %v rule %d: %w", f, r.Priority, err)
	}
	return nil
}

// localRule returns a rule for the local table. At preference 0 it is as the kernel makes it.
func localRule(f family, preference int, protocol uint8) netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Protocol = int(f), preference, unix.RT_TABLE_LOCAL, protocol
	return *r
}

// moveLocal moves the rule for the local table behind ours: adds the new one, then deletes the old one. Where somebody
// else has moved it already there is nothing to do.
func (k *kernel) moveLocal(f family) error {
	have, err := k.list(f)
	if err != nil {
		return err
	}
	var first []netlink.Rule
	behind := false
	preference := localPreference
	for _, r := range have {
		switch {
		case !forLocal(r):
		case r.Priority == 0:
			first = append(first, r)
		case r.Protocol == protocol:
			behind = true
		case r.Priority == localPreference:
			preference = localPreferenceOther
		}
	}
	if len(first) == 0 {
		return nil
	}
	if !behind { // ours also says that it was us who moved it
		r := localRule(f, preference, protocol)
		if err := k.RuleAdd(&r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add %v rule %d for the local table: %w", f, preference, err)
		}
	}
	for _, r := range first {
		if err := k.remove(f, r); err != nil {
			return err
		}
	}
	return k.keepLocal(f)
}

// keepLocal adds a rule for the local table should there be none: had somebody else deleted the first one at the same
// moment, the kernel would have taken ours.
func (k *kernel) keepLocal(f family) error {
	have, err := k.list(f)
	if err != nil || slices.ContainsFunc(have, forLocal) {
		return err
	}
	r := localRule(f, localPreference, protocol)
	return k.RuleAdd(&r)
}

// restore puts the local table's rule back and removes all rules of ours, and the tables that they lead to.
func (k *kernel) restore() error {
	var errs []error
	for _, f := range [...]family{family6, family4} {
		have, err := k.list(f)
		errs = append(errs, err)
		for _, r := range have {
			if r.Protocol != protocol {
				continue
			}
			if forLocal(r) {
				first := localRule(f, 0, unix.RTPROT_KERNEL)
				if err := k.RuleAdd(&first); err != nil && !errors.Is(err, unix.EEXIST) {
					errs = append(errs, fmt.Errorf("put the %v rule for the local table back to preference 0: %w", f, err))
					continue
				}
			} else if r.Table != 0 {
				errs = append(errs, k.flush(r.Table, nothing))
			}
			errs = append(errs, k.remove(f, r))
		}
	}
	return errors.Join(errs...)
}
