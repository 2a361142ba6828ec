package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An object is a mapping whose keys are known.
type object struct {
	item
	fields map[string]item
}

// object reads a mapping and reports keys that are not among known. A key among later is part of the design, but its
// feature is not built.
func (it item) object(known, later []string) object {
	o := it.mapping()
	for _, p := range it.pairs() {
		switch {
		case slices.Contains(known, p.name):
			o.fields[p.name] = p.value
		case slices.Contains(later, p.name):
			p.key.bad("not supported yet")
		default:
			p.key.bad("%s", unknown(p.name, known))
		}
	}
	return o
}

// mapping returns an object without fields yet, absent when the item is no mapping: then nothing is missing in it.
func (it item) mapping() object {
	o := object{it, make(map[string]item)}
	if it.present() && it.node.Kind != yaml.MappingNode {
		o.node = nil
	}
	return o
}

// get returns the item at key, absent when the file does not have it.
func (o object) get(key string) item {
	if it, ok := o.fields[key]; ok {
		return it
	}
	return item{f: o.f, path: o.below("." + key)}
}

// has tells whether the file names key, even with a value that was refused.
func (o object) has(key string) bool {
	_, ok := o.fields[key]
	return ok
}

// need is get for a key that must be there; what tells a person what to write.
func (o object) need(key, what string) item {
	if !o.has(key) && o.present() {
		item{o.f, o.node, o.below("." + key)}.bad("missing: write %s", what)
	}
	return o.get(key)
}

func unknown(key string, known []string) string {
	if near := nearest(key, known); near != "" {
		return "unknown key: did you mean " + near + "?"
	}
	return "unknown key: here may stand " + strings.Join(known, ", ")
}

// nearest returns the known key that key is most likely a slip of, empty when none is near.
func nearest(key string, known []string) string {
	best, least := "", 2*max(1, len(key)/3)+2
	for _, k := range known {
		d := 2 * slips(key, k)
		if k[:1] != key[:1] { // of two as near, the one that begins alike
			d++
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// slips counts the letters inserted, left out, replaced or swapped between a and b (optimal string alignment).
func slips(a, b string) int {
	if len(a) > 64 { // nobody's slip, and the table below is quadratic
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
