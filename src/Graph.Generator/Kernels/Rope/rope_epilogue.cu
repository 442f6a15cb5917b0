// Rotary position embedding (rotation.cu) as the epilogue of the product that makes q, k and v: columns below TURNED are turned head by head, the others stored as they are.
//
// Literals: TURNED (a multiple of HEAD_DIM), and rotation.cu's. A panel of 64 columns is in the left half of its head, the one HALF columns on is the other.

// D, which no one else stores, the tokens' positions and the frequencies.
struct Epilogue
{
    elem* x; int pitch;
    const int* positions; int positions_none;
    const float* table; int table_none;
};

struct Beside { int position; };

__device__ __forceinline__ Beside load_beside(const Epilogue& arguments, int64 row, int column)
{
    return { arguments.positions[row] };
}

__device__ __forceinline__ void epilogue(const Epilogue& arguments, const Beside& beside, int64 row, int column, float (&x)[8], float (&y)[8])
{
    if (column < TURNED)
    {
        float sine[8], cosine[8];
        sines_cosines(arguments.table, (float)beside.position, column % HEAD_DIM, sine, cosine);
        turn(x, y, sine, cosine);
    }
    elem* const first = arguments.x + row * arguments.pitch + column;
    store8(first, x);
    store8(first + HALF, y);
}

