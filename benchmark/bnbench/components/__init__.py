"""What a network and its training are put together from: tables of rows (torch-free).

    variants/            what becomes of a slot: normaliser, reparametrisation, γ and β, what is trained
    normalisers.py       what a slot's output is normalised by
    reparametrisations.py  what a slot's weights are made of
    placements.py        the expressions that say which slots carry the variant
    architectures/       networks as tables of layers
    optimisers.py        rules of update
    rate_schedules.py    learning rates as functions of the step
    probes.py            what else is measured
    site.py              a slot as a component sees it

A row that needs torch names its function, "module:function"; what these functions do lies in `bnbench.network` and
`bnbench.training`.
"""
