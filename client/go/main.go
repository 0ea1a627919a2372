// Walk starts a run, watches it to its end and queries its history; it prints one JSON object.
//
//	walk [HOST:PORT]    MENTORGRAD_CA: file of the authority's certificate, for TLS
//	                    MENTORGRAD_TOKEN: bearer token, where the service wants one
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v1 "walk/gen/mentorgrad/v1"
)

const patience = 30 * time.Second

// bearer sends the token with every call; in plain text too, which dial allows on loopback only.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (token bearer) RequireTransportSecurity() bool { return false }

func dial(target string) (*grpc.ClientConn, error) {
	// Without a certificate: plain text, which this kind of credentials allows on loopback only.
	transport := local.NewCredentials()
	if file := os.Getenv("MENTORGRAD_CA"); file != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(file, ""); err != nil {
			return nil, err
		}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if token := os.Getenv("MENTORGRAD_TOKEN"); token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return grpc.Dial(target, options...)
}

// watch calls back with a run's events to its end; a stream that breaks goes on after the last
// event that was seen.
func watch(ctx context.Context, history v1.HistoryServiceClient, run string, see func(*v1.RunEvent)) error {
	var seq int64
	for broken := 0; ; broken++ {
		stream, err := history.StreamEvents(ctx, &v1.StreamEventsRequest{RunId: run, AfterSeq: seq, Follow: true})
		for err == nil {
			var response *v1.StreamEventsResponse
			if response, err = stream.Recv(); err == nil && response.Event != nil {
				see(response.Event)
				seq, broken = response.Event.Seq, 0
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if status.Code(err) != codes.Unavailable || broken >= 10 {
			return err
		}
		time.Sleep(time.Duration(broken+1) * 200 * time.Millisecond)
	}
}

func walk(conn *grpc.ClientConn) (map[string]interface{}, error) {
	trainer, history := v1.NewTrainerServiceClient(conn), v1.NewHistoryServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// Absent fields take their defaults, which is why scalars with one are pointers.
	created, err := trainer.CreateRun(ctx, &v1.CreateRunRequest{Spec: &v1.RunSpec{
		Name: "walk from go",
		Objective: &v1.Objective{Kind: &v1.Objective_Function{
			Function: &v1.Function{Name: proto.String("rastrigin"), Dimensions: proto.Int64(3)},
		}},
		Stages: &v1.Stages{Count: proto.Int64(2), Steps: proto.Int64(10)},
		Mentor: &v1.MentorChoice{Name: proto.String("random_tokens")},
		Labels: map[string]string{"client": "go"},
		Seed:   7,
	}})
	if err != nil {
		return nil, err
	}
	run, events := created.Run.RunId, 0
	err = watch(context.Background(), history, run, func(event *v1.RunEvent) {
		events++
		fmt.Fprintf(os.Stderr, "%d %T\n", event.Seq, event.Payload)
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended, err := history.GetRun(ctx, &v1.GetRunRequest{RunId: run})
	if err != nil {
		return nil, err
	}
	listed, err := history.ListRuns(ctx, &v1.ListRunsRequest{
		Filter: &v1.RunFilter{Labels: map[string]string{"client": "go"}},
	})
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, found := range listed.Runs {
		ids = append(ids, found.RunId)
	}
	return map[string]interface{}{
		"run_id": run, "state": ended.Run.State.String(), "events": events, "listed": ids,
		"best_loss": ended.Run.Result.GetReturned().GetScore().GetLoss(),
	}, nil
}

// explain writes what the service said beyond the message: the reason to decide by, and the fields.
func explain(err error) {
	found := status.Convert(err)
	fmt.Fprintf(os.Stderr, "error: %s: %s\n", found.Code(), found.Message())
	for _, detail := range found.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(os.Stderr, "  reason: %s (%s)\n", detail.Reason, detail.Domain)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.Field, violation.Description)
			}
		}
	}
}

func main() {
	target := "127.0.0.1:50551"
	if server := os.Getenv("MENTORGRAD_SERVER"); server != "" {
		target = server
	}
	if len(os.Args) > 1 {
		target = os.Args[1]
	}
	conn, err := dial(target)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	defer conn.Close()
	found, err := walk(conn)
	if err != nil {
		explain(err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(found)
}
