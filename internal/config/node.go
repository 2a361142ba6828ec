package config

import (
	"path"
	"slices"
	"strings"

	"github.com/anyedge/anyedge/pkg/lab"
)

// A node is a lab.Node and what is known of it only while the file is read.
type node struct {
	lab.Node
	given  map[string]bool // keys that the file has, here or in the presets
	at     item            // its key
	hostAt item            // network-mode
}

// readNode reads a node's keys over what base says: single values replace, binds, env and labels join.
func readNode(it item, base node) node {
	n := base.clone()
	o := it.labObject("kind", "image", "cmd", "binds", "env", "labels", "network-mode",
		"group", "privileged", "cap-add", "image-pull-policy", "sysctls")
	n.give(o)
	o.get("kind").labChoice("linux")
	if o.has("image") {
		n.Image = image(o.get("image"))
	}
	if o.has("cmd") {
		n.Cmd = command(o.get("cmd"))
	}
	if o.has("network-mode") {
		n.setNetwork(o.get("network-mode"))
	}
	n.Binds = binds(o.get("binds"), n.Binds)
	n.Env = words(o.get("env"), n.Env)
	n.Labels = words(o.get("labels"), n.Labels)
	n.Sysctls = joinSysctls(n.Sysctls, sysctls(o.get("sysctls")))
	containerOnly(o)
	return n
}

func (n *node) give(o object) {
	if n.given == nil {
		n.given = make(map[string]bool)
	}
	for key := range o.fields {
		n.given[key] = true
	}
}

// labChoice checks one of the words that edgelab supports.
func (it item) labChoice(supported ...string) {
	what := strings.Join(supported, " or ")
	text, ok := it.text(what)
	if ok && !slices.Contains(supported, text) {
		it.bad("%q is not supported by edgelab: write %s", text, what)
	}
}

// containerOnly checks the keys that only a container runtime needs; namespaces have no use for them.
func containerOnly(o object) {
	o.get("group").str("a word")
	o.get("privileged").boolean(false)
	for _, c := range o.get("cap-add").list("") {
		c.str("a capability, such as NET_ADMIN")
	}
	o.get("image-pull-policy").labChoice("Never", "never", "IfNotPresent", "ifnotpresent", "Always", "always")
}

// joinSysctls sets more over base; a later setting of a key replaces an earlier one.
func joinSysctls(base, more []lab.Sysctl) []lab.Sysctl {
	base = slices.DeleteFunc(base, func(old lab.Sysctl) bool {
		return slices.ContainsFunc(more, func(s lab.Sysctl) bool { return s.Key == old.Key })
	})
	return append(base, more...)
}

func image(it item) lab.Image {
	const what = "anyedge, frr, bird or exabgp, with a tag or without"
	text := it.str(what)
	name, tag, tagged := strings.Cut(text, ":")
	image, known := lab.ImageByName(name)
	if text != "" && (!known || tagged && !isTag(tag)) {
		it.bad("%q is not supported by edgelab: write %s", text, what)
	}
	return image
}

func isTag(s string) bool {
	return s != "" && len(s) <= 128 && s[0] != '-' && s[0] != '.' && only(s, "-._")
}

func (n *node) setNetwork(it item) {
	text := it.str("container:NODE or none")
	host, ok := strings.CutPrefix(text, "container:")
	switch {
	case text == "":
		return
	case text == "none":
		n.Host, n.hostAt = "", item{}
	case ok && host != "":
		n.Host, n.hostAt = host, it
	default:
		it.bad("%q is not supported by edgelab: write container:NODE, or none", text)
	}
}

// complete reports what a node must have, from wherever it comes.
func (n node) complete() {
	for _, key := range []struct{ name, what string }{
		{"kind", "linux"},
		{"image", "anyedge here or in topology.kinds.linux"},
		{"cmd", `the program to run, such as "edgelab node /etc/anyedge/node.yaml"`},
	} {
		if !n.given[key.name] {
			place := n.at
			place.path += "." + key.name
			place.bad("missing: write %s", key.what)
		}
	}
}

// checkHost reports a network-mode that names no node with a network of its own.
func (n node) checkHost(all []node) {
	if n.Host == "" {
		return
	}
	host, ok := findNode(all, n.Host)
	switch {
	case !ok:
		n.hostAt.bad("node %s shares the network of %q, which is no node of this file", n.Name, n.Host)
	case n.Host == n.Name:
		n.hostAt.bad("node %s cannot share its own network", n.Name)
	case host.Host != "":
		n.hostAt.bad("node %s shares the network of %s, which has none of its own: write container:%s", n.Name, n.Host, host.Host)
	}
}

// binds reads "SOURCE:TARGET[:ro]" over base; a later bind of a target replaces an earlier one.
func binds(list item, base []lab.Bind) []lab.Bind {
	seen := make(places[string])
	for _, it := range list.list("") {
		b, ok := bind(it)
		if !ok {
			continue
		}
		seen.once(it, b.Target)
		base = slices.DeleteFunc(base, func(old lab.Bind) bool { return old.Target == b.Target })
		base = append(base, b)
	}
	return base
}

func bind(it item) (lab.Bind, bool) {
	const what = `SOURCE:TARGET or SOURCE:TARGET:ro`
	text, ok := it.literal(what)
	if !ok {
		return lab.Bind{}, false
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		it.bad("must be %s, not %q", what, text)
		return lab.Bind{}, false
	}
	b := lab.Bind{Source: parts[0], Target: parts[1], ReadOnly: len(parts) == 3 && parts[2] == "ro"}
	switch {
	case len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw":
		it.bad("bind option %q is not supported by edgelab: write ro, or rw", parts[2])
	case !path.IsAbs(b.Target) || path.Clean(b.Target) != b.Target || b.Target == "/":
		it.bad("target %q must be an absolute path below /, without . and ..", b.Target)
	case strings.HasPrefix(b.Source, "~"):
		it.bad("source %q: ~ is not expanded by edgelab, write the path out", b.Source)
	default:
		return b, true
	}
	return lab.Bind{}, false
}

// literal reads a scalar in which containerlab would expand variables.
func (it item) literal(what string) (string, bool) {
	text, ok := it.text(what)
	switch {
	case !ok:
		return "", false
	case strings.Contains(text, "$") || strings.Contains(text, "__clab"):
		it.bad("variables are not supported by edgelab: write the value of %q out", text)
		return "", false
	case unprintable(text):
		it.bad("must be %s without control characters", what)
		return "", false
	default:
		return text, true
	}
}

// words reads a mapping to words and numbers over base.
func words(it item, base map[string]string) map[string]string {
	for _, p := range it.pairs() {
		if strings.Contains(p.name, "=") {
			p.key.bad("a name must be without =")
		}
		if base == nil {
			base = make(map[string]string)
		}
		base[p.name], _ = p.value.literal("a word or a number")
	}
	return base
}
