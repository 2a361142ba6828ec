package lab

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Graph draws a topology as a tree of text: from the client, or the first node, along the links. Each line has a node,
// the programs on its host, and the delay of the link that leads there. Links that close a circle follow the tree.
func Graph(t Topology, out io.Writer) error {
	g := graph{topology: t, seen: map[string]bool{}, used: map[int]bool{}}
	var b strings.Builder
	if p, err := findParts(t); err == nil {
		g.draw(&b, p.client, "", "", "")
	}
	for _, n := range t.Nodes { // what the client's links do not reach
		if n.Host == "" && !g.seen[n.Name] {
			g.draw(&b, n.Name, "", "", "")
		}
	}
	for i, l := range t.Links {
		if !g.used[i] {
			fmt.Fprintf(&b, "and %s - %s%s\n", l.A, l.B, lineText(l))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

type graph struct {
	topology Topology
	seen     map[string]bool // nodes drawn
	used     map[int]bool    // links drawn
}

// draw writes a node and all that is first reached through it. first and rest begin its lines.
func (g *graph) draw(b *strings.Builder, node, via, first, rest string) {
	g.seen[node] = true
	fmt.Fprintf(b, "%s%s%s%s\n", first, node, via, g.programs(node))
	branches := g.branches(node)
	for i, br := range branches {
		if i == len(branches)-1 {
			g.draw(b, br.node, br.via, rest+"└─ ", rest+"   ")
		} else {
			g.draw(b, br.node, br.via, rest+"├─ ", rest+"│  ")
		}
	}
}

type branch struct{ node, via string }

// branches takes the nodes next to one that are not drawn yet.
func (g *graph) branches(node string) []branch {
	var found []branch
	for i, l := range g.topology.Links {
		near, far := l.A, l.B
		if far.Node == node {
			near, far = far, near
		}
		if near.Node != node || g.seen[far.Node] || g.used[i] {
			continue
		}
		g.seen[far.Node], g.used[i] = true, true
		found = append(found, branch{far.Node, lineText(l)})
	}
	return found
}

// programs lists what runs on a node's host.
func (g *graph) programs(host string) string {
	var names []string
	for _, n := range g.topology.Nodes {
		if (n.Name == host || n.Host == host) && len(n.Cmd) > 0 {
			names = append(names, filepath.Base(n.Cmd[0])+argument(n.Cmd))
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return ": " + strings.Join(slices.Compact(names), ", ")
}

// argument returns the sub-command of programs that have one.
func argument(cmd []string) string {
	if len(cmd) < 2 || strings.HasPrefix(cmd[1], "-") {
		return ""
	}
	return " " + cmd[1]
}

func lineText(l Link) string {
	var text []string
	if l.Delay > 0 {
		text = append(text, l.Delay.String())
	}
	if l.Jitter > 0 {
		text = append(text, "± "+l.Jitter.String())
	}
	if l.Loss > 0 {
		text = append(text, fmt.Sprintf("%g%% lost", l.Loss*100))
	}
	if len(text) == 0 {
		return ""
	}
	return " (" + strings.Join(text, ", ") + ")"
}
