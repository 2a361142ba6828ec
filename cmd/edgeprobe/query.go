package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/probe"
)

// queryFlags are those of `edgeprobe query`.
type queryFlags struct {
	server, output string
	timeout        time.Duration
}

func newQuery() *cobra.Command {
	var f queryFlags
	cmd := &cobra.Command{
		Use:   "query --server ADDR[:53] NAME [TYPE]",
		Short: "Ask a DNS server once: the answer, and which site gave it",
		Example: `  edgeprobe query --server 2001:db8:53::53 api.edge.example.
  edgeprobe query --server [::1]:5353 -o json edge.example. SOA`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return query(cmd, f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.server, "server", "", "`ADDR[:PORT]` of the DNS server (port 53 by default)")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	return cmd
}

func query(cmd *cobra.Command, f queryFlags, args []string) error {
	if f.server == "" {
		return errors.New("--server is missing: ADDR[:PORT] of the DNS server")
	}
	server, err := parseAddress("--server", f.server, dnsPort)
	if err != nil {
		return err
	}
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("-o %q: want text or json", f.output)
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %s: want more than 0", f.timeout)
	}
	question := probe.Question{Name: args[0], Type: "AAAA"}
	if len(args) > 1 {
		question.Type = args[1]
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	reply, err := probe.Query(ctx, server, question)
	if err != nil {
		return err
	}
	return writeReply(cmd.OutOrStdout(), reply, f.output)
}

func writeReply(w io.Writer, r probe.Reply, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if _, err := fmt.Fprintf(w, "%s from site %s (%s) in %.3f ms\n", r.Rcode, r.Site, r.Server, r.RTTMs); err != nil {
		return err
	}
	for _, a := range r.Answers {
		if _, err := fmt.Fprintf(w, "%s %d IN %s %s\n", a.Name, a.TTL, a.Type, a.Value); err != nil {
			return err
		}
	}
	return nil
}
