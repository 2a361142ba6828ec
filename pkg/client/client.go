// Package client simulates many clients of a service that DNS steers: they ask for its name, keep the answer as they
// are told, and connect to the pod itself. Requests come on a schedule that waits for nothing (an open loop), and
// latency counts from the moment when a request was due.
package client
