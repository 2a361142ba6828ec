package bridge

import "net/netip"

// vipError is what went wrong with one VIP: the callers of Set need to know what it does not speak of.
type vipError struct {
	vip netip.Prefix
	error
}

// VIP returns the one VIP that the error is about.
func (e vipError) VIP() netip.Prefix { return e.vip }

func (e vipError) Unwrap() error { return e.error }
