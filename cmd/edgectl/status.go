package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

func statusCommand(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show services, VIPs, bridges, checks, sessions, peers and problems",
		Example: "  edgectl status\n  edgectl status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, err := formatted(format)
			if err != nil {
				return err
			}
			s, err := o.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func formatted(format string) (func(io.Writer, siteapi.Status) error, error) {
	switch format {
	case "table":
		return func(w io.Writer, s siteapi.Status) error { return tables(w, s, time.Now()) }, nil
	case "json":
		return func(w io.Writer, s siteapi.Status) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(s)
		}, nil
	default:
		return nil, fmt.Errorf("--output %s: must be table or json", format)
	}
}
