package kube

import (
	"iter"
	"slices"
)

// A table holds something by namespace and name. With the namespace in every key, a million pods would take a third more.
type table[V any] map[string]map[string]V

func (t table[V]) get(k key) V { return t[k.namespace][k.name] }

func (t table[V]) put(k key, v V) { add2(t, k.namespace, k.name, v) }

func (t table[V]) drop(k key) { drop2(t, k.namespace, k.name) }

// keys are those of a namespace; empty: of all. What it has told of may be dropped meanwhile.
func (t table[V]) keys(namespace string) iter.Seq[key] {
	return func(yield func(key) bool) {
		for ns, all := range t {
			if namespace != "" && ns != namespace {
				continue
			}
			for name := range all {
				if !yield(key{ns, name}) {
					return
				}
			}
		}
	}
}

// sorted are all keys, in order.
func (t table[V]) sorted() []key { return slices.SortedFunc(t.keys(""), key.compare) }

// count is how many there are in a namespace; empty: in all.
func (t table[V]) count(namespace string) (n int) {
	for ns, all := range t {
		if namespace == "" || ns == namespace {
			n += len(all)
		}
	}
	return n
}

// held is what a reader needs to know of the objects of its kind.
type held interface {
	count(namespace string) int
	keys(namespace string) iter.Seq[key]
	version(k key) string // empty: it is not there
}

type versioned interface{ current() string }

type holding[O versioned] struct{ table[O] }

func (h holding[O]) version(k key) string {
	if o, there := h.table[k.namespace][k.name]; there {
		return o.current()
	}
	return ""
}
