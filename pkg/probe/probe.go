// Package probe measures an anycast service from a client's side: sequence-numbered UDP packets (or DNS queries), who
// answered each, what was lost and for how long.
package probe
