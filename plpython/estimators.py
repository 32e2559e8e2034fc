"""The allow-list: every class an artefact may name, by the name it is pickled under.

An artefact that names anything else is refused before the name is even imported.
"""

from __future__ import annotations

import importlib
import inspect
from functools import lru_cache
from typing import Any


def _names(module: str, *classes: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in classes)


LINEAR_CLASSIFIERS = (
    *_names("sklearn.linear_model._stochastic_gradient", "SGDClassifier"),
    *_names("sklearn.linear_model._logistic", "LogisticRegression"),
    *_names("sklearn.linear_model._perceptron", "Perceptron"),
    *_names("sklearn.linear_model._passive_aggressive", "PassiveAggressiveClassifier"),
    *_names("sklearn.linear_model._ridge", "RidgeClassifier"),
)
LINEAR_REGRESSORS = (
    *_names("sklearn.linear_model._stochastic_gradient", "SGDRegressor"),
    *_names("sklearn.linear_model._passive_aggressive", "PassiveAggressiveRegressor"),
    *_names("sklearn.linear_model._base", "LinearRegression"),
    *_names("sklearn.linear_model._ridge", "Ridge"),
)
# These cast their input to float32, so what they are given must fit in it.
TREES = (
    *_names("sklearn.tree._classes", "DecisionTreeClassifier", "DecisionTreeRegressor"),
    *_names("sklearn.tree._classes", "ExtraTreeClassifier", "ExtraTreeRegressor"),
    *_names("sklearn.ensemble._forest", "RandomForestClassifier", "RandomForestRegressor"),
    *_names("sklearn.ensemble._forest", "ExtraTreesClassifier", "ExtraTreesRegressor"),
    *_names("sklearn.ensemble._gb", "GradientBoostingClassifier", "GradientBoostingRegressor"),
)
OTHERS = (
    *_names("sklearn.naive_bayes", "GaussianNB", "BernoulliNB", "MultinomialNB"),
    *_names("sklearn.neural_network._multilayer_perceptron", "MLPClassifier", "MLPRegressor"),
    *_names(
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ),
    *_names("sklearn.cluster._kmeans", "MiniBatchKMeans"),
)
SCALERS = _names(
    "sklearn.preprocessing._data",
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
)
PIPELINE = "sklearn.pipeline.Pipeline"

LINEAR = LINEAR_CLASSIFIERS + LINEAR_REGRESSORS
PREDICTORS = LINEAR + TREES + OTHERS

TREE = "sklearn.tree._tree.Tree"
TREE_PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
# What fitted estimators of the list hold inside, besides arrays and plain values.
PARTS = (
    *_names("sklearn.preprocessing._label", "LabelBinarizer", "LabelEncoder"),
    *_names("sklearn.dummy", "DummyClassifier", "DummyRegressor"),
    *_names("sklearn.ensemble._hist_gradient_boosting.binning", "_BinMapper"),
    *_names("sklearn.neural_network._stochastic_optimizers", "AdamOptimizer", "SGDOptimizer"),
    *_names("sklearn._loss.link", "HalfLogitLink", "IdentityLink", "Interval"),
    *_names("sklearn._loss.link", "LogitLink", "LogLink"),
    *_names("sklearn._loss.loss", "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss"),
    *_names("sklearn._loss.loss", "HalfGammaLoss", "HalfPoissonLoss", "HalfSquaredError"),
    *_names("sklearn._loss.loss", "HuberLoss", "PinballLoss"),
    TREE_PREDICTOR,
)
# Compiled losses: rebuilt by calling the class with numbers, unlike the ones above.
LOSSES = (
    *_names("sklearn._loss._loss", "CyAbsoluteError", "CyExponentialLoss", "CyHalfBinomialLoss"),
    *_names("sklearn._loss._loss", "CyHalfGammaLoss", "CyHalfPoissonLoss", "CyHalfSquaredError"),
    *_names("sklearn._loss._loss", "CyHuberLoss", "CyPinballLoss"),
    *_names("sklearn.linear_model._sgd_fast", "Hinge", "SquaredHinge", "ModifiedHuber"),
    *_names("sklearn.linear_model._sgd_fast", "EpsilonInsensitive", "SquaredEpsilonInsensitive"),
    *_names("sklearn.linear_model._sgd_fast", "Log", "SquaredLoss", "Huber"),
)
# Rebuilt without arguments, then given a dictionary of attributes.
OBJECTS = frozenset((*PREDICTORS, *SCALERS, PIPELINE, *PARTS))


# NumPy 1 and scikit-learn before 1.6 pickled the same things under these.
_FORMER_MODULES = {"numpy.core.": "numpy._core.", "_loss.": "sklearn._loss._loss."}


def current_name(name: str) -> str:
    """Return the present name of something that older versions pickled under another."""
    for former, present in _FORMER_MODULES.items():
        if name.startswith(former):
            return present + name.removeprefix(former)
    return name


def qualified_name(cls: type) -> str:
    """Return the dotted name a class is listed under."""
    return current_name(f"{cls.__module__}.{cls.__qualname__}")


@lru_cache(maxsize=256)
def resolve(name: str) -> type[Any] | None:
    """Return the class of a name of this list; None where the installed library lacks it."""
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if inspect.isclass(found) else None


def is_one_of(thing: object, names: tuple[str, ...] | frozenset[str]) -> bool:
    """Say whether `thing` is an instance of exactly one of the classes named, no subclass."""
    name = qualified_name(type(thing))
    return name in names and resolve(name) is type(thing)


def final_step(estimator: Any) -> Any:
    """Return the predictor at the end of a Pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if is_one_of(estimator, (PIPELINE,)) else estimator


def scaler_steps(estimator: Any) -> list[Any]:
    """Return the scalers in front of the predictor, in order; steps passed through are left out."""
    if not is_one_of(estimator, (PIPELINE,)):
        return []
    steps = [step for _, step in estimator.steps[:-1]]
    return [step for step in steps if step is not None and step != "passthrough"]


def feature_count(estimator: Any) -> int:
    """Return how many columns an estimator takes: scalers change none of them."""
    return int(final_step(estimator).n_features_in_)


def feature_names(estimator: Any) -> list[str] | None:
    """Return the columns an estimator was fitted on, by name; None if fitted without names."""
    first = [*scaler_steps(estimator), final_step(estimator)][0]
    names = getattr(first, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def working_alone(estimator: Any) -> Any:
    """Return the estimator set to work silently, without threads or processes of its own."""
    final = final_step(estimator)
    for name, value in (("n_jobs", None), ("verbose", 0), ("_n_threads", 1)):
        if hasattr(final, name):
            setattr(final, name, value)
    return estimator
