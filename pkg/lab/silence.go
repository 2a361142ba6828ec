package lab

import (
	"fmt"

	"github.com/google/nftables"
)

// silenceTable is the nftables table that makes an interface drop everything.
const silenceTable = "edgelab-silence"

// drop returns what makes an interface of the calling thread's namespace drop all frames in both directions, without a
// link-down event: a switch that forwards no more, a fibre cut in one of its two strands' far ends.
func drop(iface string) func() error {
	return func() error {
		return nft(func(c *nftables.Conn, table *nftables.Table) {
			c.AddTable(table)
			policy := nftables.ChainPolicyDrop
			for name, hook := range map[string]*nftables.ChainHook{"in": nftables.ChainHookIngress, "out": nftables.ChainHookEgress} {
				c.AddChain(&nftables.Chain{
					Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook,
					Priority: nftables.ChainPriorityFilter, Device: iface, Policy: &policy,
				})
			}
		})
	}
}

// pass undoes drop.
func pass() error {
	return nft(func(c *nftables.Conn, table *nftables.Table) { c.DelTable(table) })
}

// nft sends one transaction about the silence table in the calling thread's namespace.
func nft(change func(*nftables.Conn, *nftables.Table)) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	change(c, &nftables.Table{Family: nftables.TableFamilyNetdev, Name: silenceTable})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables: %w: the kernel must be able to filter at netdev ingress and egress (5.16 or later)", err)
	}
	return nil
}
