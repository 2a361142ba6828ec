package kube

import (
	"cmp"
	"slices"
	"strings"
)

// A verdict is what an owner is told: which names are served for it, and what is not done.
type verdict struct {
	served  []string // sorted
	trouble []problem
	mine    bool // it asks for something; else its status is none of our business
}

// verdict returns what an owner is told now.
func (w *world) verdict(o owner) (v verdict) {
	asked, known := w.wishes[o]
	v.mine = known
	v.trouble = slices.Clone(asked.trouble)
	for _, name := range sorted(asked.claims, strings.Compare) {
		if p, denied := w.denied[name][o]; denied {
			v.trouble = append(v.trouble, p)
			continue
		}
		v.trouble = append(v.trouble, w.minor[name]...)
		v.served = append(v.served, name)
	}
	slices.SortStableFunc(v.trouble, func(a, b problem) int {
		return cmp.Or(strings.Compare(a.reason, b.reason), strings.Compare(a.message, b.message))
	})
	v.trouble = slices.Compact(v.trouble)
	return v
}

// verdicts returns those that may have changed since it was asked last.
func (w *world) verdicts() map[owner]verdict {
	all := make(map[owner]verdict, len(w.restless))
	for o := range w.restless {
		all[o] = w.verdict(o)
	}
	clear(w.restless)
	return all
}
