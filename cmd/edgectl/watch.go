package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

func watchCommand(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "watch",
		Short:   "Tell what changes, until interrupted",
		Long:    "watch tells the state of every service, VIP, session and peer now, and each new one. With -o json: one status a line.",
		Example: "  edgectl watch\n  edgectl watch -o json | jq -c '.services[] | {name, state}'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			switch format {
			case "text":
				return o.client().Watch(cmd.Context(), newTeller(w).tell)
			case "json":
				return o.client().Watch(cmd.Context(), func(s siteapi.Status) error { return json.NewEncoder(w).Encode(s) })
			default:
				return fmt.Errorf("--output %s: must be text or json", format)
			}
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// A teller tells each state once.
type teller struct {
	w    io.Writer
	told map[string]string // by subject; absent: nothing that is worth a line
}

func newTeller(w io.Writer) teller { return teller{w, make(map[string]string)} }

// tell leaves out what changes all the time: counters, distances and headroom.
func (t teller) tell(s siteapi.Status) error {
	now := states(s)
	var text strings.Builder
	for _, one := range now {
		if t.told[one.subject] != one.state {
			t.told[one.subject] = one.state
			fmt.Fprintf(&text, "%s %s %s\n", time.Now().Format("15:04:05.000"), one.subject, cmp.Or(one.state, "off"))
		}
	}
	for subject := range t.told {
		if !slices.ContainsFunc(now, func(one stated) bool { return one.subject == subject }) {
			delete(t.told, subject)
			fmt.Fprintf(&text, "%s %s is gone\n", time.Now().Format("15:04:05.000"), subject)
		}
	}
	_, err := io.WriteString(t.w, text.String())
	return err
}

// stated is a subject and its state; empty: none, and none is told at first.
type stated struct{ subject, state string }

func states(s siteapi.Status) (all []stated) {
	add := func(subject, state string) { all = append(all, stated{subject, state}) }
	for _, one := range s.Services {
		add("service "+one.Name, one.State+": "+one.Reason)
		for _, v := range one.VIPs {
			if len(one.VIPs) > 1 && v.State != "" { // else the service says the same
				add("vip "+v.Address.Addr().String(), v.State+": "+v.Reason)
			}
			bridged := ""
			if v.Bridge != nil {
				bridged = "to " + targets(v.Bridge.Targets)
			}
			add("bridge of "+v.Address.Addr().String(), bridged)
		}
	}
	for _, n := range s.Neighbors {
		add("neighbor "+n.Address.String(), n.State+": "+remark(n))
		if n.BFD != nil {
			add("bfd "+n.Address.String(), n.BFD.State+": "+detail(*n.BFD))
		}
	}
	for _, one := range s.Peers {
		add("peer "+one.Name+" for "+one.VIP.String(), strings.TrimSuffix("says "+says(one)+": "+one.Reason, ": "))
	}
	if s.Cluster != nil {
		for _, one := range s.Cluster.Services {
			add("cluster service "+one.Name, strings.Join(one.Problems, "; "))
		}
	}
	add("brake", s.Brake)
	if s.Bridge != nil {
		for _, one := range s.Bridge.Problems {
			add("problem "+one.Name+": "+one.What, "remedy: "+one.Remedy)
		}
	}
	return all
}
