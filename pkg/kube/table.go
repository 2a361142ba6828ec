package kube

import "iter"

// A table holds something by namespace and name. With the namespace in every key, a million pods would take a third more.
type table[V any] map[string]map[string]V

func (t table[V]) get(k key) V { return t[k.namespace][k.name] }

func (t table[V]) put(k key, v V) { add2(t, k.namespace, k.name, v) }

func (t table[V]) drop(k key) { drop2(t, k.namespace, k.name) }

// in is what there is in a namespace; empty: in all. What it has told of may be dropped meanwhile.
func (t table[V]) in(namespace string) iter.Seq2[key, V] {
	return func(yield func(key, V) bool) {
		for ns, all := range t {
			if namespace != "" && ns != namespace {
				continue
			}
			for name, v := range all {
				if !yield(key{ns, name}, v) {
					return
				}
			}
		}
	}
}

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
	objects(namespace string) iter.Seq[object]
	version(k key) string // empty: it is not there
}

type holding[O object] struct{ table[O] }

func (h holding[O]) objects(namespace string) iter.Seq[object] {
	return func(yield func(object) bool) {
		for _, o := range h.in(namespace) {
			if !yield(o) {
				return
			}
		}
	}
}

func (h holding[O]) version(k key) string {
	if o, there := h.table[k.namespace][k.name]; there {
		return o.current()
	}
	return ""
}
