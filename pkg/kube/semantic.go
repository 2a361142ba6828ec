package kube

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Semantic names, as names themselves, belong to the oldest who asks for them. They are asked for with a name, and dirty names
// alone may ask otherwise than before.

// assignSemantics takes in what dirty names ask for. Names that get a semantic name thereby, or lose it, become dirty.
func (w *world) assignSemantics() {
	affected := make(map[steering.Semantic]bool)
	for name := range w.dirty {
		old, now := w.semantics[name], w.semanticAsked(name)
		if old.Complete() {
			drop2(w.askers, old, name)
			affected[old] = true
		}
		delete(w.semantics, name)
		if now.Complete() {
			w.semantics[name] = now
			add2(w.askers, now, name, true)
			affected[now] = true
		}
	}
	for m := range affected {
		w.assignSemantic(m)
	}
}

func (w *world) semanticAsked(name string) steering.Semantic {
	if claims := w.claims[name]; len(claims) > 0 {
		return w.settings(claims[0]).semantic
	}
	return steering.Semantic{}
}

func (w *world) assignSemantic(m steering.Semantic) {
	old, now := w.holders[m], ""
	for name := range w.askers[m] {
		if now == "" || cmp.Or(w.claims[name][0].compare(w.claims[now][0]), strings.Compare(name, now)) < 0 {
			now = name
		}
	}
	switch {
	case now == old:
		return
	case now == "":
		delete(w.holders, m)
	default:
		w.holders[m] = now
	}
	for name := range w.askers[m] {
		w.dirty[name] = true // who does not get it is told who has it
	}
}

// semantic is what the service of a name is called besides, if it gets what it asks for.
func (w *world) semantic(name string, asked steering.Semantic) steering.Semantic {
	if !asked.Complete() {
		return steering.Semantic{}
	}
	if holder := w.holders[asked]; holder != name {
		w.note(name, problem{reasonSemantic, fmt.Sprintf("%s: its semantic name is that of %s, which asks for it longer", name, holder)})
		return steering.Semantic{}
	}
	if accept := w.rules.accept.Semantic; accept != nil {
		if err := accept(name, asked); err != nil {
			w.note(name, problem{reasonSemantic, fmt.Sprintf("%s: %s", name, err)})
			return steering.Semantic{}
		}
	}
	return asked
}
