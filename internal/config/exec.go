package config

import (
	"path"
	"strings"

	"github.com/anyedge/anyedge/pkg/health"
)

func execCheck(o object) health.Exec {
	return health.Exec{
		Command: program(o.need("command", `the program and its arguments: ["/usr/local/bin/check", ...]`)),
		Env:     environment(o.get("env")),
	}
}

// program reads a program and its arguments; there is no shell and no search for the program.
func program(list item) []string {
	var words []string
	for i, it := range list.list("program") {
		text, ok := it.text("a word")
		switch {
		case !ok:
		case strings.ContainsRune(text, 0):
			it.bad("must not hold a NUL")
		case i == 0 && (!path.IsAbs(text) || strings.HasSuffix(text, "/")):
			it.bad("must be the absolute path of a program, not %q", text)
		}
		words = append(words, text)
	}
	return words
}

func environment(it item) []string {
	if !it.present() {
		return nil
	}
	var all []string
	for _, p := range it.pairs() {
		value, ok := p.value.text("a value")
		switch {
		case !only(p.name, "_"):
			p.key.bad("must be a name of letters, digits and underscores")
		case ok && strings.ContainsRune(value, 0):
			p.value.bad("must not hold a NUL")
		}
		all = append(all, p.name+"="+value)
	}
	return all
}
