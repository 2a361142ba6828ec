package config

import (
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anyedge/anyedge/pkg/lab"
)

// ParseTopology reads the supported subset of a containerlab file. Its binds are relative to the directory of name.
func ParseTopology(name string, r io.Reader) (lab.Topology, error) {
	return parse(name, r, topology)
}

func topology(root item) lab.Topology {
	o := root.labObject("name", "topology")
	t := lab.Topology{
		Name: o.need("name", "the lab's name").label("a name"),
		Dir:  filepath.Dir(root.f.name),
	}
	o = o.need("topology", "the nodes and links").labObject("defaults", "kinds", "nodes", "links")
	nodes := nodes(o.need("nodes", "the nodes: {NAME: {kind: linux, cmd: ...}}"), presets(o))
	for _, n := range nodes {
		t.Nodes = append(t.Nodes, n.Node)
	}
	t.Links = links(o.get("links"), nodes)
	return t
}

// labObject reads a mapping of a containerlab file. What containerlab knows beside known is no slip of the pen.
func (it item) labObject(known ...string) object {
	o := it.mapping()
	for _, p := range it.pairs() {
		switch near := nearest(p.name, known); {
		case slices.Contains(known, p.name):
			o.fields[p.name] = p.value
		case near != "":
			p.key.bad("unknown key: did you mean %s?", near)
		default:
			p.key.bad("not supported by edgelab: here may stand %s", strings.Join(known, ", "))
		}
	}
	return o
}

// presets returns what `defaults`, then `kinds` say of every node.
func presets(o object) node {
	base := readNode(o.get("defaults"), node{})
	return readNode(o.get("kinds").labObject("linux").get("linux"), base)
}

// nodes reads the nodes in the file's order and then checks what they say of one another.
func nodes(it item, base node) []node {
	var all []node
	pairs := it.pairs()
	if it.mapping().present() && len(pairs) == 0 {
		it.bad("needs at least one node")
	}
	for _, p := range pairs {
		if !isHostname(p.name) {
			p.key.bad("a node's name must be of at most 63 letters, digits and inner hyphens")
		}
		n := base.clone()
		if !p.value.isNull() {
			n = readNode(p.value, base)
		}
		n.Name, n.at = p.name, p.key
		if !n.given["cmd"] && n.Image.Cmd() != nil {
			n.Cmd, n.given["cmd"] = n.Image.Cmd(), true
		}
		n.complete()
		all = append(all, n)
	}
	for _, n := range all {
		n.checkHost(all)
	}
	return all
}

// isNull tells of a node that is all presets: `r1:` and nothing more.
func (it item) isNull() bool { return it.present() && it.node.Tag == "!!null" }

func isHostname(s string) bool {
	return len(s) <= 63 && only(s, "-") && alphanumeric(s[0]) && alphanumeric(s[len(s)-1])
}

func (n node) clone() node {
	n.Binds, n.Sysctls = slices.Clone(n.Binds), slices.Clone(n.Sysctls)
	n.Env, n.Labels, n.given = maps.Clone(n.Env), maps.Clone(n.Labels), maps.Clone(n.given)
	return n
}

func findNode(all []node, name string) (node, bool) {
	i := slices.IndexFunc(all, func(n node) bool { return n.Name == name })
	if i < 0 {
		return node{}, false
	}
	return all[i], true
}
