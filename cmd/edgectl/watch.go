package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

func watchCommand(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "watch",
		Short:   "Tell what changes, until interrupted",
		Long:    "watch tells the state of every service and session now, and each new one. With -o json: one status a line.",
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
	told map[string]string
}

func newTeller(w io.Writer) teller { return teller{w, make(map[string]string)} }

func (t teller) tell(s siteapi.Status) error {
	for _, one := range s.Services {
		if err := t.line("service "+one.Name, one.State+": "+one.Reason); err != nil {
			return err
		}
	}
	for _, n := range s.Neighbors {
		if err := t.line("neighbor "+n.Address.String(), n.State+": "+remark(n)); err != nil {
			return err
		}
	}
	return nil
}

func (t teller) line(subject, state string) error {
	if t.told[subject] == state {
		return nil
	}
	t.told[subject] = state
	_, err := fmt.Fprintf(t.w, "%s %s %s\n", time.Now().Format("15:04:05.000"), subject, state)
	return err
}
