package main

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// appendValue appends the canonical bytes of row i: 0x00 for null, else 0x01
// and the value. It walks values rather than buffers, so offsets, slices and
// the contents of null slots never reach the hash.
func appendValue(dst []byte, arr arrow.Array, i int) ([]byte, error) {
	if arr.IsNull(i) {
		return append(dst, 0), nil
	}
	dst = append(dst, 1)

	var err error
	switch a := arr.(type) {
	case *array.Boolean:
		if a.Value(i) {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case array.StringLike:
		return append(appendLength(dst, len(a.Value(i))), a.Value(i)...), nil
	case interface{ Value(int) []byte }:
		return append(appendLength(dst, len(a.Value(i))), a.Value(i)...), nil
	case array.ListLike:
		start, end := a.ValueOffsets(i)
		dst = appendLength(dst, int(end-start))
		for j := start; j < end && err == nil; j++ {
			dst, err = appendValue(dst, a.ListValues(), int(j))
		}
		return dst, err
	case *array.Struct:
		for f := 0; f < a.NumField() && err == nil; f++ {
			dst, err = appendValue(dst, a.Field(f), i)
		}
		return dst, err
	}

	switch arr.DataType().ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64,
		arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.FLOAT32, arrow.FLOAT64, arrow.TIMESTAMP:
		// Arrow buffers are little-endian here, so the raw bytes are canonical.
		width := arr.DataType().(arrow.FixedWidthDataType).Bytes()
		at := (arr.Data().Offset() + i) * width
		return append(dst, arr.Data().Buffers()[1].Bytes()[at:at+width]...), nil
	}
	return nil, fmt.Errorf("no canonical hash for type %s", arr.DataType())
}

func appendLength(dst []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(n))
}
