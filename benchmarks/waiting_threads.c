/* Time of parallel regions by how OpenMP's threads wait for one another, without the start of PyTorch.

   gcc -O1 -fopenmp benchmarks/waiting_threads.c -o waiting
   OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE ./waiting 2000 1.5

   The first argument is the work of a region in microseconds of one thread, the second one how long to repeat, in
   seconds. Prints the fastest and the mean time of 50 regions, in milliseconds. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#define REGIONS 50
#define CALIBRATION 200000

static double work(long rounds)
{
    double value = 1.0;
    for (long i = 0; i < rounds; i++)
        value = value * 1.0000001 + 1e-9;
    return value;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    volatile double sink;
    double round_s = 1.0;
    for (int repeat = 0; repeat < 100; repeat++) {
        double started = omp_get_wtime();
        sink = work(CALIBRATION);
        double found = (omp_get_wtime() - started) / CALIBRATION;
        round_s = found < round_s ? found : round_s;
    }
    long rounds = (long)(atof(arguments[1]) * 1e-6 / round_s);
    long each = rounds / omp_get_max_threads();
    double end = omp_get_wtime() + atof(arguments[2]), fastest = 1e9, sum = 0;
    int repeats = 0;
    while (omp_get_wtime() < end) {
        double started = omp_get_wtime();
        for (int region = 0; region < REGIONS; region++) {
#pragma omp parallel
            {
                volatile double own = work(each);
                (void)own;
            }
            sink = work(rounds / 50); /* serial code between regions: 2% */
        }
        double taken = omp_get_wtime() - started;
        fastest = taken < fastest ? taken : fastest;
        sum += taken;
        repeats++;
    }
    (void)sink;
    printf("%.0f %.0f\n", 1e3 * fastest, 1e3 * sum / repeats);
    return 0;
}
