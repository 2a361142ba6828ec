package kube

import (
	"slices"
	"strings"

	"github.com/anyedge/anyedge/pkg/steering"
)

// rules are what is known beside the objects.
type rules struct {
	class  string // of Ingresses
	domain string // of default names; empty: none
	node   string // that this runs on; empty: not known
	noPods bool   // nothing will be told of pods
	loads  bool   // somebody wants to know who is behind endpoints
	accept Rules
}

// A world is what the API tells, and what follows from it. It knows no clock and no network: what follows is a function of
// the objects alone, whatever the order in which they came. What a change touches is dirty; nothing else is translated
// again.
type world struct {
	rules     rules
	services  table[*service]
	ingresses table[*ingress]
	slices    table[*slice]
	pods      table[*pod]

	sliced map[key]map[key]*slice // by Service
	users  table[[]*slice]        // Pod -> the slices that have it, once for each endpoint
	wishes map[owner]wish
	claims map[string][]claim           // by name; the first one has it
	backs  map[key]map[string]bool      // Service -> names that its pods answer for
	denied map[string]map[owner]problem // by name

	semantics map[string]steering.Semantic          // what is asked for, by name
	askers    map[steering.Semantic]map[string]bool // the names that each is asked for with
	holders   map[steering.Semantic]string          // the one of them that has it

	dirty    map[string]bool // names to translate again
	restless map[owner]bool  // owners whose verdict may be another one now
	served   map[string]steering.Service
	minor    map[string][]problem // of names that are served all the same
}

func newWorld(r rules) *world {
	return &world{
		rules: r, services: make(table[*service]), ingresses: make(table[*ingress]),
		slices: make(table[*slice]), pods: make(table[*pod]),
		sliced: make(map[key]map[key]*slice), users: make(table[[]*slice]),
		wishes: make(map[owner]wish), claims: make(map[string][]claim), backs: make(map[key]map[string]bool),
		denied: make(map[string]map[owner]problem), minor: make(map[string][]problem),
		semantics: make(map[string]steering.Semantic), askers: make(map[steering.Semantic]map[string]bool), holders: make(map[steering.Semantic]string),
		dirty: make(map[string]bool), restless: make(map[owner]bool), served: make(map[string]steering.Service),
	}
}

// put takes an object as it is now.
func (w *world) put(o object) {
	switch o := o.(type) {
	case *service:
		w.services.put(o.key, o)
		w.want(owner{kindService, o.key}, serviceWish(o, w.rules.domain))
		w.touch(o.key)
	case *ingress:
		w.ingresses.put(o.key, o)
		w.want(owner{kindIngress, o.key}, ingressWish(o, w.rules.class))
	case *slice:
		w.dropSlice(o.key)
		w.putSlice(o)
	case *pod:
		old := w.pods.get(o.key)
		w.pods.put(o.key, o)
		if old == nil || !old.equal(o) {
			w.touchUsers(o.key)
		}
	}
}

// drop forgets an object of the kind that like is of.
func (w *world) drop(like object, k key) {
	switch like.(type) {
	case *service:
		w.services.drop(k)
		w.want(owner{kindService, k}, wish{})
		w.touch(k)
	case *ingress:
		w.ingresses.drop(k)
		w.want(owner{kindIngress, k}, wish{})
	case *slice:
		w.dropSlice(k)
	case *pod:
		w.pods.drop(k)
		w.touchUsers(k)
	}
}

// held are the objects of the kind that like is of.
func (w *world) held(like object) held {
	switch like.(type) {
	case *service:
		return holding[*service]{w.services}
	case *ingress:
		return holding[*ingress]{w.ingresses}
	case *slice:
		return holding[*slice]{w.slices}
	default:
		return holding[*pod]{w.pods}
	}
}

func (w *world) putSlice(s *slice) {
	w.slices.put(s.key, s)
	add2(w.sliced, s.service, s.key, s)
	for _, p := range w.podKeys(s) {
		w.users.put(p, append(w.users.get(p), s))
	}
	w.touch(s.service)
}

func (w *world) dropSlice(k key) {
	s := w.slices.get(k)
	if s == nil {
		return
	}
	w.slices.drop(k)
	drop2(w.sliced, s.service, k)
	for _, p := range w.podKeys(s) {
		all := w.users.get(p)
		if i := slices.Index(all, s); len(all) > 1 {
			w.users.put(p, slices.Delete(all, i, i+1))
		} else {
			w.users.drop(p)
		}
	}
	w.touch(s.service)
}

// podKeys are the pods of a slice, one for each endpoint that has one.
func (w *world) podKeys(s *slice) []key {
	var all []key
	for _, e := range s.endpoints {
		if e.pod != "" && !w.rules.noPods {
			all = append(all, key{s.namespace, e.pod})
		}
	}
	return all
}

// want replaces what an owner asks for.
func (w *world) want(o owner, next wish) {
	old := w.wishes[o]
	for name, c := range old.claims {
		drop2(w.backs, c.backend, name)
		w.claims[name] = slices.DeleteFunc(w.claims[name], func(c claim) bool { return c.owner == o })
		w.dirty[name] = true
	}
	for name, c := range next.claims {
		all := append(w.claims[name], c)
		slices.SortFunc(all, claim.compare)
		w.claims[name] = all
		w.dirty[name] = true
	}
	// Another claim to a name may have the same backend.
	for _, claims := range []map[string]claim{old.claims, next.claims} {
		for name := range claims {
			for _, c := range w.claims[name] {
				add2(w.backs, c.backend, name, true)
			}
			if len(w.claims[name]) == 0 {
				delete(w.claims, name)
			}
		}
	}
	w.wishes[o] = next
	if len(next.claims) == 0 && len(next.trouble) == 0 {
		delete(w.wishes, o)
	}
	w.restless[o] = true
}

// touch makes the names dirty that a Service's pods answer for.
func (w *world) touch(service key) {
	for name := range w.backs[service] {
		w.dirty[name] = true
	}
}

func (w *world) touchUsers(pod key) {
	for _, s := range w.users.get(pod) {
		w.touch(s.service)
	}
}

// touchAll makes everything dirty: the rules are other ones.
func (w *world) touchAll() {
	for name := range w.claims {
		w.dirty[name] = true
	}
}

// An Update is what changed since the one before: of desired state, not of events.
type Update struct {
	Set  []steering.Service // those that are new, or not as they were, or, with Config.Loads, perhaps not Behind; sorted by name
	Gone []string           // names that are served no more; sorted

	Synced bool // everything was read once; before, nothing is told
}

// Empty tells that nothing changed.
func (u Update) Empty() bool { return len(u.Set) == 0 && len(u.Gone) == 0 }

// update translates what is dirty, and returns what came out otherwise than before.
func (w *world) update() (u Update) {
	w.assignSemantics()
	for _, name := range sorted(w.dirty, strings.Compare) {
		old, was := w.served[name]
		now, is := w.translate(name)
		switch {
		case is && (!was || w.rules.loads || !old.Equal(now)):
			w.served[name] = now
			u.Set = append(u.Set, now)
		case was && !is:
			delete(w.served, name)
			u.Gone = append(u.Gone, name)
		}
	}
	clear(w.dirty)
	return u
}

// all returns everything that is served, sorted by name.
func (w *world) all() []steering.Service {
	var all []steering.Service
	for _, name := range sorted(w.served, strings.Compare) {
		all = append(all, w.served[name])
	}
	return all
}

// add2 and drop2 change a map of maps that has no empty ones.
func add2[K, L comparable, V any](m map[K]map[L]V, k K, l L, v V) {
	if m[k] == nil {
		m[k] = make(map[L]V)
	}
	m[k][l] = v
}

func drop2[K, L comparable, V any](m map[K]map[L]V, k K, l L) {
	delete(m[k], l)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}
