// Package vip owns service addresses on a host's interface: it adds, lists and removes those that are ours, and never
// touches an address that somebody else put there.
package vip
