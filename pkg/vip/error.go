package vip

import "net/netip"

// addressError is what went wrong with one address: the callers of Set need to know what it does not speak of.
type addressError struct {
	address netip.Prefix
	error
}

// Address returns the one address that the error is about.
func (e addressError) Address() netip.Prefix { return e.address }

func (e addressError) Unwrap() error { return e.error }
