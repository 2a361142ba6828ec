package router

import "net/netip"

// PretendGone makes the router believe that all its sessions are young and that a prefix went away while they were opened.
func (r *Router) PretendGone(p netip.Prefix) {
	r.mu.Lock()
	for n := range r.up {
		r.young[n] = true
	}
	r.gone[p] = true
	r.mu.Unlock()
	r.wake()
}
