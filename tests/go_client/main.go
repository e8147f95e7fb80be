// Command goclient reads one Arrow Flight call with arrow-go and prints what
// it saw as one JSON object, for comparison with what pyarrow sees.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const usage = "usage: goclient ADDRESS do_get|get_flight_info|get_schema|list_flights|cancel_flight_info|do_action:NAME < body"

type object = map[string]any

func main() {
	if len(os.Args) != 3 {
		fail(errors.New(usage))
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	// No grpc.MaxCallRecvMsgSize: the default 4 MiB limit is part of the test.
	client, err := flight.NewClientWithMiddleware(os.Args[1], nil, nil,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fail(err)
	}
	defer client.Close()

	report, err := call(context.Background(), client, os.Args[2], body)
	if err != nil {
		failure, ok := grpcError(err)
		if !ok {
			fail(err)
		}
		if report == nil {
			report = object{}
		}
		report["error"] = failure
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "goclient:", err)
	os.Exit(1)
}

// grpcError looks through wrapping for the status itself: status.FromError
// would replace the message of a wrapped one by the whole chain.
func grpcError(err error) (object, bool) {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil, false
	}
	return object{"code": s.GRPCStatus().Code().String(), "message": s.GRPCStatus().Message()}, true
}

func call(ctx context.Context, client flight.Client, method string, body []byte) (object, error) {
	descriptor := &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: body}
	switch method {
	case "do_get":
		return doGet(ctx, client, body)
	case "get_flight_info":
		return getFlightInfo(ctx, client, descriptor)
	case "get_schema":
		return getSchema(ctx, client, descriptor)
	case "list_flights":
		return listFlights(ctx, client, body)
	case "cancel_flight_info":
		return cancelFlightInfo(ctx, client, descriptor)
	}
	if action, ok := strings.CutPrefix(method, "do_action:"); ok {
		return doAction(ctx, client, &flight.Action{Type: action, Body: body})
	}
	return nil, errors.New(usage)
}

// doGet returns what was read even when it also returns an error.
func doGet(ctx context.Context, client flight.Client, ticket []byte) (object, error) {
	stream, err := client.DoGet(ctx, &flight.Ticket{Ticket: ticket})
	if err != nil {
		return nil, err
	}
	reader, err := flight.NewRecordReader(stream)
	if err != nil {
		return nil, err
	}
	defer reader.Release()

	schema := reader.Schema()
	hashes := make([]hash.Hash, schema.NumFields())
	for c := range hashes {
		hashes[c] = sha256.New()
	}
	rows, metadata, sizes, firstRow := int64(0), []string{}, []int64{}, object{}
	for reader.Next() {
		batch := reader.RecordBatch()
		if rows == 0 && batch.NumRows() > 0 {
			firstRow = describeRow(batch, 0)
		}
		rows += batch.NumRows()
		sizes = append(sizes, batch.NumRows())
		metadata = append(metadata, string(reader.LatestAppMetadata()))
		if err := addToHashes(hashes, batch); err != nil {
			return nil, err
		}
	}
	columns := object{}
	for c, field := range schema.Fields() {
		columns[field.Name] = hex.EncodeToString(hashes[c].Sum(nil))
	}
	return object{
		"fields":    describeFields(schema),
		"batches":   len(sizes),
		"rows":      rows,
		"metadata":  metadata,
		"sizes":     sizes,
		"columns":   columns,
		"first_row": firstRow,
	}, reader.Err()
}

func addToHashes(hashes []hash.Hash, batch arrow.RecordBatch) error {
	var buf []byte
	for c, column := range batch.Columns() {
		for i := range column.Len() {
			var err error
			if buf, err = appendValue(buf[:0], column, i); err != nil {
				return fmt.Errorf("column %q: %w", batch.ColumnName(c), err)
			}
			hashes[c].Write(buf)
		}
	}
	return nil
}

func describeRow(batch arrow.RecordBatch, i int) object {
	row := object{}
	for c, column := range batch.Columns() {
		if column.IsNull(i) {
			row[batch.ColumnName(c)] = nil
		} else {
			row[batch.ColumnName(c)] = column.ValueStr(i)
		}
	}
	return row
}

func describeFields(schema *arrow.Schema) [][]any {
	fields := [][]any{}
	for _, f := range schema.Fields() {
		fields = append(fields, []any{f.Name, f.Type.String(), f.Metadata.ToMap()})
	}
	return fields
}

func getFlightInfo(ctx context.Context, client flight.Client, descriptor *flight.FlightDescriptor) (object, error) {
	info, err := client.GetFlightInfo(ctx, descriptor)
	if err != nil {
		return nil, err
	}
	schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	tickets, locations := []string{}, [][]string{}
	for _, endpoint := range info.Endpoint {
		tickets = append(tickets, string(endpoint.GetTicket().GetTicket()))
		uris := []string{}
		for _, location := range endpoint.Location {
			uris = append(uris, location.Uri)
		}
		locations = append(locations, uris)
	}
	return object{
		"fields":    describeFields(schema),
		"endpoints": len(info.Endpoint),
		"tickets":   tickets,
		"records":   info.TotalRecords,
		"bytes":     info.TotalBytes,
		"ordered":   info.Ordered,
		"locations": locations,
	}, nil
}

// cancelFlightInfo plans a query, reads one message of its first endpoint,
// cancels the plan, and reads on.
func cancelFlightInfo(ctx context.Context, client flight.Client, descriptor *flight.FlightDescriptor) (object, error) {
	info, err := client.GetFlightInfo(ctx, descriptor)
	if err != nil {
		return nil, err
	}
	stream, err := client.DoGet(ctx, info.Endpoint[0].GetTicket())
	if err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); err != nil {
		return nil, err
	}
	result, err := client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
	if err != nil {
		return nil, err
	}
	report := object{"status": result.Status.String(), "ticket": string(info.Endpoint[0].GetTicket().GetTicket())}
	for {
		if _, err := stream.Recv(); err == io.EOF {
			return report, nil
		} else if err != nil {
			return report, err
		}
	}
}

func getSchema(ctx context.Context, client flight.Client, descriptor *flight.FlightDescriptor) (object, error) {
	result, err := client.GetSchema(ctx, descriptor)
	if err != nil {
		return nil, err
	}
	schema, err := flight.DeserializeSchema(result.Schema, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	metadata := schema.Metadata()
	return object{"fields": describeFields(schema), "metadata": metadata.ToMap()}, nil
}

func listFlights(ctx context.Context, client flight.Client, criteria []byte) (object, error) {
	stream, err := client.ListFlights(ctx, &flight.Criteria{Expression: criteria})
	if err != nil {
		return nil, err
	}
	flights, records := [][]string{}, []int64{}
	for {
		info, err := stream.Recv()
		if err == io.EOF {
			return object{"flights": flights, "records": records}, nil
		}
		if err != nil {
			return nil, err
		}
		flights = append(flights, append([]string{}, info.GetFlightDescriptor().GetPath()...))
		records = append(records, info.TotalRecords)
	}
}

func doAction(ctx context.Context, client flight.Client, action *flight.Action) (object, error) {
	stream, err := client.DoAction(ctx, action)
	if err != nil {
		return nil, err
	}
	results := []string{}
	for {
		result, err := stream.Recv()
		if err == io.EOF {
			return object{"results": results}, nil
		}
		if err != nil {
			return nil, err
		}
		results = append(results, string(result.Body))
	}
}
