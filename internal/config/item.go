package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An item is one place in a file. Without a node it is absent: every reader then returns its default in silence.
type item struct {
	f    *file
	node *yaml.Node
	path string // such as services[0].checks[1].interval; empty: the whole file
}

func (it item) present() bool { return it.node != nil }

// bad reports a broken rule of the item. It does nothing on an absent item, which was reported already.
func (it item) bad(format string, args ...any) {
	if !it.present() {
		return
	}
	it.f.add(it.node.Line, it.node.Column, "%s: %s", it.title(), fmt.Sprintf(format, args...))
}

func (it item) title() string {
	if it.path == "" {
		return "file"
	}
	return it.path
}

// line is where the item is, for errors about another one.
func (it item) line() int { return it.node.Line }

// child returns the item at node below it, absent when what is written there is not plain YAML.
func (it item) child(step string, node *yaml.Node) item {
	return item{it.f, node, it.below(step)}.resolved()
}

// below returns the path of the item at step, which is .KEY or [INDEX].
func (it item) below(step string) string {
	if it.path == "" {
		return strings.TrimPrefix(step, ".")
	}
	return it.path + step
}

// resolved reports what strict files do without: aliases, whose value may stand anywhere, and tags, which change types.
func (it item) resolved() item {
	switch {
	case it.node.Kind == yaml.AliasNode:
		it.bad("aliases are not supported: write the value out")
	case it.node.Style&yaml.TaggedStyle != 0:
		it.bad("tags are not supported: remove %q", it.node.Tag)
	default:
		return it
	}
	return item{f: it.f, path: it.path}
}

// A pair is one key of a mapping and its value.
type pair struct {
	key   item // its path is the value's
	name  string
	value item
}

// pairs reads a mapping in the file's order; duplicate keys are reported and left out.
func (it item) pairs() []pair {
	if !it.present() {
		return nil
	}
	if it.node.Kind != yaml.MappingNode {
		it.bad("must be keys and values")
		return nil
	}
	var pairs []pair
	seen := make(map[string]int)
	for i := 0; i+1 < len(it.node.Content); i += 2 {
		key, value := it.node.Content[i], it.node.Content[i+1]
		if !it.plainKey(key) {
			continue
		}
		place := item{it.f, key, it.below("." + key.Value)}
		if line, ok := seen[key.Value]; ok {
			place.bad("duplicate key: already on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		pairs = append(pairs, pair{place, key.Value, it.child("."+key.Value, value)})
	}
	return pairs
}

func (it item) plainKey(key *yaml.Node) bool {
	place := item{it.f, key, it.path}
	switch {
	case key.Kind != yaml.ScalarNode || key.Style&yaml.TaggedStyle != 0 || key.Value == "" || unprintable(key.Value):
		place.bad("a key must be a plain word")
	case key.Tag == "!!merge":
		place.bad("merge keys are not supported: write the values out")
	default:
		return true
	}
	return false
}

// list reads a sequence. With a what it must hold at least one item, named so in the error.
func (it item) list(what string) []item {
	if !it.present() {
		return nil
	}
	if it.node.Kind != yaml.SequenceNode {
		it.bad("must be a list")
		return nil
	}
	if len(it.node.Content) == 0 && what != "" {
		it.bad("needs at least one %s", what)
	}
	var items []item
	for i, node := range it.node.Content {
		items = append(items, it.child(fmt.Sprintf("[%d]", i), node))
	}
	return items
}
